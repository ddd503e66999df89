package intercept

import (
	"io"
	"net"
	"sync"
)

// tunnel is two connections whose bytes are copied to each other.
type tunnel struct {
	near, far net.Conn
	once      sync.Once
}

// splice copies until both directions have ended, each half on its own: a client
// may finish sending long before the answer is complete. It blocks.
func (p *Proxy) splice(near, far net.Conn) {
	t := &tunnel{near: near, far: far}
	if !p.open(t) {
		t.close()
		return
	}
	defer p.forget(t)
	var wg sync.WaitGroup
	wg.Go(func() { t.copy(far, near) })
	wg.Go(func() { t.copy(near, far) })
	wg.Wait()
	t.close()
}

// copy moves one direction. A clean end is passed on as a half-close; an error
// ends the tunnel.
func (t *tunnel) copy(dst, src net.Conn) {
	if _, err := io.Copy(dst, src); err != nil || closeWrite(dst) != nil {
		t.close()
	}
}

func (t *tunnel) close() {
	t.once.Do(func() {
		t.near.Close()
		t.far.Close()
	})
}

// open registers a tunnel; false after Close.
func (p *Proxy) open(t *tunnel) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tunnels == nil {
		return false
	}
	p.tunnels[t] = struct{}{}
	return true
}

func (p *Proxy) forget(t *tunnel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.tunnels, t)
}

// closeWrite sends FIN, where a connection can do so without closing both ways;
// others are closed.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
