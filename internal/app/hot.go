package app

import (
	"strings"

	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/connapi"
)

// hot is what event loops answer themselves: @connections, where none of the
// checks before it has anything to say. What a check may refuse, or another
// plane may want, takes the long way through front.
type hot struct {
	app       *App
	callbacks *connapi.Handler
}

func (h hot) Takes(method, target string) bool { return h.callbacks.Takes(method, target) }

func (h hot) ServeHot(dst []byte, r *conn.HotRequest) ([]byte, bool) {
	if !h.app.guard.AllowHost(r.Host) || h.app.isMapped(r.Host) || fromElsewhere(r.Headers) {
		return dst, false
	}
	return h.callbacks.ServeHot(dst, r)
}

// fromElsewhere reports whether a browser or a proxy's client may have sent the
// request: devguard and intercept decide about those.
func fromElsewhere(headers []conn.Header) bool {
	for i := range headers {
		name := headers[i].Name
		switch len(name) {
		case len("Origin"):
			if strings.EqualFold(name, "Origin") {
				return true
			}
		case len("Sec-Fetch-Site"):
			if strings.EqualFold(name, "Sec-Fetch-Site") {
				return true
			}
		}
		if len(name) > 6 && strings.EqualFold(name[:6], "Proxy-") {
			return true
		}
	}
	return false
}
