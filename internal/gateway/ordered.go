package gateway

// Ordered routes (Metadata: Livegate: Ordered: true): a connection's messages on them
// run one by one, each after the one before has been answered. An API whose moves must
// not overtake each other then needs no queue of its own. AWS ignores the setting and
// runs messages side by side.
//
// A message on an ordered route leaves the connection's line as soon as it is at its
// front, and waits in a line of its own: other routes go on meanwhile. Both lines
// together are bounded by Limits.InFlight, beyond which the connection is not read.
// $disconnect comes after the last of them.

// inOrder takes a job whose turn is not yet, and reports whether it did.
func (s *session) inOrder(b *backlog, j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !j.end && !j.route.isOrdered() || j.end && !b.ordering {
		return false
	}
	b.ordered = append(b.ordered, *j)
	if !b.ordering {
		b.ordering = true
		go s.runOrdered(b)
	}
	return true
}

// runOrdered runs what waits in order, until nothing does.
func (s *session) runOrdered(b *backlog) {
	for more := true; more; {
		s.mu.Lock()
		j := b.ordered[0]
		b.ordered[0] = job{}
		b.ordered = b.ordered[1:]
		s.mu.Unlock()
		s.contained(&j, nothing)
		more = s.settle(b, &j, true)
	}
}

// nothing is the queued of messages whose successor waits for their end.
func nothing() {}

// isOrdered is false for messages that no route takes.
func (r *route) isOrdered() bool { return r != nil && r.model.Ordered }
