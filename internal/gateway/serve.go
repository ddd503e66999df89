package gateway

import (
	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/event"
)

// ServeUpgrade decides a WebSocket handshake and returns when it is decided. The
// connection lives on after that.
func (g *Gateway) ServeUpgrade(u *conn.Upgrade) {
	h := &handshake{
		host: u.Host, path: u.Path, query: u.RawQuery,
		remote: u.Remote.Addr(), at: u.At, protocols: u.Protocols,
		headers: make([]event.Field, len(u.Headers)),
	}
	for i, f := range u.Headers {
		h.headers[i] = event.Field{Name: f.Name, Value: f.Value}
	}
	g.serve(h, socket{g, u})
}

// socket is an upgrade of package conn.
type socket struct {
	g *Gateway
	u *conn.Upgrade
}

func (k socket) Accept(s *session, subprotocol string) (link, error) {
	l := &k.g.limits
	c, err := k.u.Accept(conn.Options{
		Subprotocol: subprotocol,
		Handler:     handler{s},
		Paused:      true,
		Limits: conn.Limits{
			Frame: l.Frame, Message: l.Message, Idle: l.Idle, Lifetime: l.Lifetime,
			SendBytes: l.SendBytes, SendItems: l.SendItems,
			Text: true, // in every profile: events carry text, so a binary frame has no meaning here
		},
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (k socket) Refuse(r refusal) {
	headers := []conn.Header{{Name: "Content-Type", Value: "application/json"}}
	if r.errorType != "" {
		headers = append(headers, conn.Header{Name: "x-amzn-errortype", Value: r.errorType})
	}
	k.u.Refuse(r.status, headers, r.body)
}

// handler takes a connection's messages and its end.
type handler struct{ s *session }

func (h handler) OnMessage(_ *conn.Conn, data []byte, _ bool)   { h.s.onMessage(data) }
func (h handler) OnClose(_ *conn.Conn, code int, reason string) { h.s.onClose(code, reason) }

var (
	_ upgrade      = socket{}
	_ link         = (*conn.Conn)(nil)
	_ conn.Handler = handler{}
)
