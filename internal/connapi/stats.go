package connapi

import (
	"net/http"
	"sync/atomic"
)

// Stats is a snapshot of a handler's counters; they only grow.
type Stats struct {
	Posts, Gets, Deletes int64 // requests by method
	Others               int64 // requests of other methods
	Hot                  int64 // of all, answered by an event loop
	Declined             int64 // left by an event loop to the other door, and counted there
	// Status counts answers by HTTP status.
	Status map[int]int64
}

// statuses are those this package answers with; what is not here counts as the
// last.
var statuses = [...]int{
	http.StatusOK, http.StatusNoContent, http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusGone,
	http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInternalServerError,
}

type counters struct {
	posts, gets, deletes, others, hot, declined atomic.Int64
	status                                      [len(statuses)]atomic.Int64
}

func (c *counters) count(method string, status int) {
	switch method {
	case http.MethodPost:
		c.posts.Add(1)
	case http.MethodGet:
		c.gets.Add(1)
	case http.MethodDelete:
		c.deletes.Add(1)
	default:
		c.others.Add(1)
	}
	i := 0
	for i < len(statuses)-1 && statuses[i] != status {
		i++
	}
	c.status[i].Add(1)
}

// Stats returns the counters now.
func (h *Handler) Stats() Stats {
	c := &h.stats
	s := Stats{
		Posts: c.posts.Load(), Gets: c.gets.Load(), Deletes: c.deletes.Load(), Others: c.others.Load(),
		Hot: c.hot.Load(), Declined: c.declined.Load(), Status: make(map[int]int64, len(statuses)),
	}
	for i, status := range statuses {
		s.Status[status] = c.status[i].Load()
	}
	return s
}
