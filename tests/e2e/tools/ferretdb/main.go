// FerretDB with its data in files of SQLite. A program of its own, because upstream's wants files that only its release
// process makes.
package main

import (
	"context"
	"log"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "0.0.0.0:27017"},
		Handler:   "sqlite",
		SQLiteURL: "file:/data/db/",
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := server.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
