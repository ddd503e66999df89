package conn

import "sync"

// Task is work for one shard's sockets, such as a fan-out to its subscribers. It
// runs in turns between which reads, timers and posts have theirs: it should
// return false, to be called again, when spent reports true. It must not block.
type Task = func(spent func() bool) (done bool)

// tasks runs what was posted while no event loop runs, one after the other.
type tasks struct {
	mu      sync.Mutex
	queue   []Task // guarded by mu
	running bool   // guarded by mu
}

// Shards is the number of event loops; connections are spread over them.
func (s *Server) Shards() int { return s.loops.shards() }

// Post queues a task on a shard, in [0, Shards()). Tasks of a shard run in order;
// it never blocks. While no event loop runs, a goroutine runs the tasks of all
// shards.
func (s *Server) Post(shard int, t Task) {
	if s.loops.post(shard, t) {
		return
	}
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	s.tasks.queue = append(s.tasks.queue, t)
	if !s.tasks.running {
		s.tasks.running = true
		go s.tasks.run(&s.here)
	}
}

func (q *tasks) run(h *home) {
	for {
		q.mu.Lock()
		if len(q.queue) == 0 {
			q.running, q.queue = false, nil
			q.mu.Unlock()
			return
		}
		t := q.queue[0]
		q.queue[0] = nil
		q.queue = q.queue[1:]
		q.mu.Unlock()
		for !h.runTask(t, func() bool { return false }) {
		}
	}
}
