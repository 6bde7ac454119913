// An HTTP server that closes no connection on which a request may be on its way.
//
//	panzer -b 127.0.0.1:8000 -- ./server
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// How long an idle connection waits for a last request.
const keepAlive = 5 * time.Second

func main() {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		log.Fatal(err)
	}
	var stopping atomic.Bool
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		stopping.Store(true)
		listener.Close()
	}()

	var open sync.WaitGroup
	server := &http.Server{
		IdleTimeout: keepAlive,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if stopping.Load() {
				w.Header().Set("Connection", "close")
			}
			fmt.Fprintf(w, "hello from %d\n", os.Getpid())
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed, http.StateHijacked:
				open.Done()
			}
		},
	}
	sayReady()
	if err := server.Serve(listener); !stopping.Load() {
		log.Fatal(err)
	}
	// Shutdown closes idle connections at once: they have their time first.
	finished := make(chan struct{})
	go func() { open.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(keepAlive):
	}
	server.Shutdown(context.Background())
}

func sayReady() {
	if path := os.Getenv("NOTIFY_SOCKET"); path != "" {
		notify, err := net.Dial("unixgram", path)
		if err != nil {
			log.Fatal(err)
		}
		notify.Write([]byte("READY=1"))
		notify.Close()
	}
}
