package gateway

import (
	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/event"
)

// ServeUpgrade decides a WebSocket handshake, at once where nothing has to be
// asked, on a goroutine of its own otherwise. It does not block.
func (g *Gateway) ServeUpgrade(u *conn.Upgrade) {
	h := handshake{
		host: u.Host, path: u.Path, query: u.RawQuery, target: u.RawPath, secure: u.Secure,
		remote: u.Remote.Addr(), at: u.At, protocols: u.Protocols, headers: client{u},
	}
	if u.RawQuery != "" {
		h.target += "?" + u.RawQuery
	}
	if d := g.current.Load(); d != nil && d.trusts != nil && g.cfg.PeerCertificates != nil {
		h.certificates = g.cfg.PeerCertificates(u)
	}
	g.serve(&h, client{u})
}

// client is an upgrade of package conn.
type client struct{ u *conn.Upgrade }

func (k client) Accept(s *session, subprotocol string) (link, error) {
	l := &s.slot.g.limits
	c, err := k.u.Accept(conn.Options{
		Subprotocol: subprotocol,
		Handler:     handler{s},
		Paused:      true,
		Deflate:     l.Deflate,
		Limits: conn.Limits{
			Frame: l.Frame, Message: l.Message, Idle: l.Idle, Lifetime: l.Lifetime,
			SendBytes: l.SendBytes, SendItems: l.SendItems, Overflow: l.Overflow, OverflowCode: l.OverflowCode,
			Heartbeat: conn.Heartbeat{Every: l.Heartbeat, Wait: l.HeartbeatWait},
			Text:      !l.Binary,
		},
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (k client) Refuse(r refusal) {
	headers := []conn.Header{{Name: "Content-Type", Value: "application/json"}}
	if r.errorType != "" {
		headers = append(headers, conn.Header{Name: "x-amzn-errortype", Value: r.errorType})
	}
	k.u.Refuse(r.status, headers, r.body)
}

func (k client) Detach(f func()) { k.u.Detach(f) }

func (k client) Get(name string) string { return k.u.Get(name) }

func (k client) Fields() []event.Field {
	out := make([]event.Field, len(k.u.Headers))
	for i, f := range k.u.Headers {
		out[i] = event.Field{Name: f.Name, Value: f.Value}
	}
	return out
}

// handler takes a connection's messages and its end.
type handler struct{ s *session }

func (h handler) OnMessage(_ *conn.Conn, data []byte, bin bool) { h.s.onMessage(data, bin) }
func (h handler) OnClose(_ *conn.Conn, code int, reason string) { h.s.onClose(code, reason) }

var (
	_ upgrade      = client{}
	_ headers      = client{}
	_ link         = (*conn.Conn)(nil)
	_ conn.Handler = handler{}
)
