//! Who may call: root and the agent's own user, whatever the permissions of the socket say.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{Uid, seteuid};

use super::common::isolated;
use super::{Home, answer, mode, set_mode};

/// What a caller hears who says nothing itself: the server's first frame, or the end.
fn first_byte(socket: &Path) -> std::io::Result<usize> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.read(&mut [0; 1])
}

#[test]
fn privileged_a_caller_of_another_user_is_refused() {
    isolated("peers::privileged_a_caller_of_another_user_is_refused", async {
        let home = Home::new();
        let agent = home.start().await;
        for socket in home.sockets() {
            set_mode(&socket, 0o666);
            for directory in socket.ancestors().skip(1).filter(|path| mode(path) & 0o001 == 0) {
                set_mode(directory, 0o755);
            }
        }
        let nobody = Uid::from_raw(65534);
        for socket in home.sockets() {
            // This process has no other threads that would need to be root meanwhile.
            seteuid(nobody).unwrap();
            let heard = first_byte(&socket);
            seteuid(Uid::from_raw(0)).unwrap();
            match heard {
                Ok(0) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                other => panic!("{} answers another user: {other:?}", socket.display()),
            }
        }
        let log = agent.log();
        assert_eq!(
            log.matches("caller refused: only root may call uid=65534").count(),
            2,
            "{log}"
        );
        answer(&home.sockets()).await.unwrap();
    });
}
