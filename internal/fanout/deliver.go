package fanout

import (
	"github.com/livegate/livegate/internal/topic"
)

// work is what a shard's task is at. It survives from slice to slice.
type work struct {
	batch []message // taken from the queue at once
	done  int       // messages of batch that everybody has

	// The run is batch[done:end]: messages to the same subscribers.
	end    int
	cursor topic.Cursor
	view   int // of the run's only message: 0, or 1 + index into more

	several uint64 // messages with more than one view, ever
	look    int    // deliveries until the next look at the clock
}

const (
	// slice is the number of deliveries between two looks at the clock.
	slice = 32
	// together and togetherBytes bound a run, and so how long one sink can hold up a
	// slice; and a turn of the task, so that what sinks were given can leave before
	// they are given more: a burst must not overflow sinks that keep up.
	together      = 64
	togetherBytes = 64 << 10
	// keep is the size up to which an emptied queue's memory is used again.
	keep = 256
)

// run delivers what was published when it began, and posts itself again for what
// came since: so a stream of messages does not keep the loop's other tasks waiting.
func (o *outbox) run(loops Loops, shard int, spent func() bool) bool {
	if o.done == len(o.batch) {
		o.mu.Lock()
		o.batch, o.queue = o.queue, o.batch[:0]
		o.mu.Unlock()
		o.done, o.end = 0, 0
	}
	delivered, messages, bytes := 0, 0, 0
	o.look = slice
	for o.done < len(o.batch) {
		if messages >= together || bytes >= togetherBytes {
			o.delivered.Add(uint64(delivered))
			return false
		}
		if o.end == o.done {
			o.begin()
		}
		n, through := o.pass(spent)
		delivered += n
		if !through {
			o.delivered.Add(uint64(delivered))
			return false
		}
		messages += o.end - o.done
		bytes += o.finish()
	}
	o.delivered.Add(uint64(delivered))
	if cap(o.batch) > keep {
		o.batch, o.done, o.end = nil, 0, 0
	}
	o.mu.Lock()
	o.posted = len(o.queue) > 0
	again := o.posted
	o.mu.Unlock()
	if again {
		loops.Post(shard, o.task)
	}
	return true
}

// begin finds the run that starts at done. Sinks are met once per run and get all
// its messages then: they leave together, and the sink's memory is fetched once.
func (o *outbox) begin() {
	o.end, o.cursor, o.view = o.done+1, topic.Cursor{}, 0
	first := &o.batch[o.done]
	if len(first.more) > 0 {
		o.several++
		return
	}
	for bytes := first.p.Size(); o.end < len(o.batch) && o.end-o.done < together; o.end++ {
		next := &o.batch[o.end]
		bytes += next.p.Size()
		if len(next.more) > 0 || !next.view.Same(first.view) || bytes > togetherBytes {
			return
		}
	}
}

// pass goes on with the run and reports whether everybody has it; if not, the
// slice is spent.
func (o *outbox) pass(spent func() bool) (delivered int, through bool) {
	if len(o.batch[o.done].more) > 0 {
		return o.passSeveral(spent)
	}
	run := o.batch[o.done:o.end]
	for {
		sub := run[0].view.Next(&o.cursor)
		if sub == nil {
			return delivered, true
		}
		for i := range run {
			if sub.In(run[i].view) {
				sub.Value.sink.Deliver(run[i].p)
				delivered++
			}
		}
		if o.due(len(run), spent) {
			return delivered, false
		}
	}
}

// passSeveral is pass for a message that matched several filters: whoever
// subscribed to more than one of them still gets it once.
func (o *outbox) passSeveral(spent func() bool) (delivered int, through bool) {
	m := &o.batch[o.done]
	for ; o.view <= len(m.more); o.view++ {
		v := &m.view
		if o.view > 0 {
			v = &m.more[o.view-1]
		}
		for {
			sub := v.Next(&o.cursor)
			if sub == nil {
				break
			}
			if who := sub.Value.member; who.seen != o.several && sub.In(*v) {
				who.seen = o.several
				sub.Value.sink.Deliver(m.p)
				delivered++
			}
			if o.due(1, spent) {
				return delivered, false
			}
		}
		o.cursor = topic.Cursor{}
	}
	return delivered, true
}

// due counts n deliveries and looks at the clock now and then.
func (o *outbox) due(n int, spent func() bool) bool {
	o.look -= n
	if o.look > 0 {
		return false
	}
	o.look = slice
	return spent()
}

// finish gives back what the run took, and says how many bytes it had.
func (o *outbox) finish() (size int) {
	for i := o.done; i < o.end; i++ {
		size += o.batch[i].p.Size()
	}
	o.give(o.end-o.done, size)
	clear(o.batch[o.done:o.end])
	o.done = o.end
	return size
}
