package conn

import "net/netip"

// HotRequest is one whole HTTP/1.1 request that an event loop parsed itself. It
// is valid only during the call that gets it.
type HotRequest struct {
	Method  string
	Target  string // as sent
	Host    string
	Headers []Header
	Body    []byte
	Remote  netip.AddrPort
	Secure  bool
}

// Hot serves the few HTTP requests that never leave the event loop.
type Hot interface {
	// Takes reports, from the request line alone, whether ServeHot may be asked.
	Takes(method, target string) bool
	// ServeHot appends a whole HTTP/1.1 response to dst. It must not block; false
	// sends the request, unread, to Config.HTTP instead.
	ServeHot(dst []byte, r *HotRequest) (response []byte, ok bool)
}
