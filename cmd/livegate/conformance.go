package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/livegate/livegate/internal/app"
	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/frame"
)

// conformanceCommand is hidden: it is for contributors who point a public WebSocket
// test suite at the connection engine. docs/conformance.md says how.
func (c *cli) conformanceCommand() *cobra.Command {
	var listen, cert, key, engine, deflate string
	cmd := &cobra.Command{
		Use:    "conformance-echo",
		Short:  "Echo WebSocket messages without limits, for conformance suites",
		Hidden: true,
		Args:   atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := (&app.Config{Engine: engine}).Validate(); err != nil {
				return usagef("%v", err)
			}
			if deflate != "on" && deflate != "takeover" && deflate != "off" {
				return usagef("--deflate %q: want on, takeover or off", deflate)
			}
			policy := frame.DeflatePolicy{Enabled: deflate != "off", ContextTakeover: deflate == "takeover"}
			cfg := conn.Config{Portable: engine == "portable"}
			scheme := "ws"
			if (cert == "") != (key == "") {
				return usagef("--tls-cert and --tls-key go together")
			}
			if cert != "" {
				pair, err := tls.LoadX509KeyPair(cert, key)
				if err != nil {
					return usagef("--tls-cert and --tls-key: %v", err)
				}
				scheme, cfg.TLS = "wss", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
			}
			ln, err := net.Listen("tcp", listen)
			if err != nil {
				return usagef("--listen %s: %v", listen, err)
			}
			fmt.Fprintf(c.out, "echoing at %s://%s\n", scheme, ln.Addr())
			return serveEcho(cmd.Context(), cfg, ln, policy)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9001", "address to listen on")
	cmd.Flags().StringVar(&engine, "engine", "auto", "auto, loop or portable")
	cmd.Flags().StringVar(&deflate, "deflate", "on", "permessage-deflate: on, takeover (keep the window between messages) or off")
	cmd.Flags().StringVar(&cert, "tls-cert", "", "PEM file of a certificate: wss instead of ws")
	cmd.Flags().StringVar(&key, "tls-key", "", "PEM file of its key")
	return cmd
}

// serveEcho echoes every message to its sender, as the kind it came in, until ctx
// ends. No limit of the engine is on: suites send 16 MiB messages and thousands
// in a row without reading.
func serveEcho(ctx context.Context, cfg conn.Config, ln net.Listener, deflate frame.DeflatePolicy) error {
	limits := conn.Limits{SendBytes: 1 << 30, SendItems: 1 << 24}
	cfg.Upgrade = func(u *conn.Upgrade) {
		_, err := u.Accept(conn.Options{Handler: echo{}, Limits: limits, Deflate: deflate})
		if err != nil && !errors.Is(err, conn.ErrGone) {
			panic(err) // the options are ours
		}
	}
	s := conn.New(cfg)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-served:
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(failed, s.Shutdown(end))
}

type echo struct{}

func (echo) OnMessage(c *conn.Conn, data []byte, binary bool) {
	var err error
	if binary {
		err = c.SendPrepared(frame.Prepare(frame.Binary, data, ""))
	} else {
		err = c.Send(data)
	}
	if errors.Is(err, conn.ErrQueueFull) {
		c.Close(frame.CodePolicy, "a gigabyte was sent and not read")
	}
}

func (echo) OnClose(*conn.Conn, int, string) {}

var _ conn.Handler = echo{}
