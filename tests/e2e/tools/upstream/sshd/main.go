// An SSH server as small as Kubernetes' tests need one on a node: whoever has the key has their command run.
//
//	sshd ADDRESS KEY
//
// KEY, a private key, is that of the server as well as that of its only client.
package main

import (
	"bytes"
	"errors"
	"log"
	"net"
	"os"
	"os/exec"

	"golang.org/x/crypto/ssh"
)

func main() {
	pem, err := os.ReadFile(os.Args[2])
	check(err)
	key, err := ssh.ParsePrivateKey(pem)
	check(err)
	server := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, theirs ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(theirs.Marshal(), key.PublicKey().Marshal()) {
			return nil, errors.New("not the key")
		}
		return nil, nil
	}}
	server.AddHostKey(key)
	listener, err := net.Listen("tcp", os.Args[1])
	check(err)
	for {
		connection, err := listener.Accept()
		check(err)
		go serve(connection, server)
	}
}

func serve(connection net.Conn, server *ssh.ServerConfig) {
	defer connection.Close()
	_, channels, requests, err := ssh.NewServerConn(connection, server)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if session, requests, err := offered.Accept(); err == nil {
			go run(session, requests)
		}
	}
}

// run does the one command of a session (RFC 4254, section 6.5).
func run(session ssh.Channel, requests <-chan *ssh.Request) {
	defer session.Close()
	for request := range requests {
		var exec struct{ Command string }
		if request.Type != "exec" || ssh.Unmarshal(request.Payload, &exec) != nil {
			_ = request.Reply(false, nil)
			continue
		}
		_ = request.Reply(true, nil)
		status := struct{ Status uint32 }{bash(exec.Command, session)}
		_, _ = session.SendRequest("exit-status", false, ssh.Marshal(status))
		return
	}
}

func bash(command string, session ssh.Channel) uint32 {
	child := exec.Command("bash", "-c", command)
	child.Stdout, child.Stderr = session, session.Stderr()
	if err := child.Run(); err != nil && child.ProcessState == nil {
		return 127
	}
	return uint32(child.ProcessState.ExitCode())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
