package integration

import (
	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/selection"
)

// vars is what mappings and selection expressions of this call may read.
// Handshake headers and query parameters exist on $connect only.
func (r *Request) vars() *selection.Vars {
	v := &selection.Vars{Body: r.Body, Context: r.context, StageVariables: r.StageVariables}
	if r.Handshake != nil {
		var headers, query event.List
		v.Header = func(name string) []string {
			if headers == nil {
				headers = event.Headers(r.Conn, r.Handshake)
			}
			return headers.Get(name)
		}
		v.Query = func(name string) []string {
			if query == nil {
				query = event.Query(r.Handshake.Query)
			}
			for _, q := range query {
				if q.Name == name {
					return q.Values
				}
			}
			return nil
		}
	}
	return v
}

func (r *Request) context(path string) (string, bool) {
	return event.Context(r.Conn, &r.Call, r.Type, path)
}
