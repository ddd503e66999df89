package topic

import "strings"

// View is the subscriptions of one filter in one group at one moment. It is a
// small value, and holds what it shows in memory for as long as it is kept.
type View[T any] struct {
	Group int
	Count int // subscriptions in it; exact unless some come or go meanwhile

	stamp uint64
	one   *Subscription[T]
	list  *list[T]
}

// Same reports whether a cursor over v meets all subscriptions of o, so that one
// pass can serve both; [Subscription.In] tells them apart.
func (v View[T]) Same(o View[T]) bool {
	return v.list == o.list && v.one == o.one
}

// Match appends the views of a channel to buf: one for each filter that matches
// and each group with a subscription to it.
func (x *Index[T]) Match(c Channel, buf []View[T]) []View[T] {
	name := c.name
	hash := x.hash(name)
	if n := x.shard(hash).find(uint32(hash), itself, name); n != nil {
		buf = n.views(buf)
	}
	deep, shallow := x.wild[0].Load() > 0, x.wild[1].Load() > 0
	for end := len(name); (deep || shallow) && end > 0; {
		// The parent: without the last segment, and at last "".
		end = max(strings.LastIndexByte(name[:end], '/'), 0)
		hash = x.hash(name[:end])
		s := x.shard(hash)
		if deep {
			if n := s.find(uint32(hash), below, name[:end]); n != nil {
				buf = n.views(buf)
			}
		}
		if shallow {
			if n := s.find(uint32(hash), children, name[:end]); n != nil {
				buf = n.views(buf)
			}
		}
		shallow = false // further up, c is no child
	}
	return buf
}

func (n *node[T]) views(buf []View[T]) []View[T] {
	stamp := n.stamp.Load() // first: what it counts is already in place
	one := n.one.Load()
	if sets := n.sets.Load(); sets != nil {
		for _, s := range *sets {
			v := View[T]{Group: s.group, Count: int(s.live.Load()), stamp: stamp, list: s.list.Load()}
			if one != nil && int(one.group) == s.group {
				v.one, one = one, nil
				v.Count++
			}
			buf = append(buf, v)
		}
	}
	if one != nil {
		buf = append(buf, View[T]{Group: int(one.group), Count: 1, stamp: stamp, one: one})
	}
	return buf
}

// Cursor is a place in a view. The zero value is the beginning.
type Cursor struct {
	started     bool
	chunk, slot int
}

// Next is the next subscription of v, nil at its end. Those that came after v was
// taken may be among them, and one given up before the next step of its reader:
// ask [Subscription.In] right before using it.
func (v *View[T]) Next(at *Cursor) *Subscription[T] {
	if !at.started {
		at.started = true
		if v.one != nil {
			return v.one
		}
	}
	if v.list == nil {
		return nil
	}
	for at.chunk < len(v.list.chunks) {
		slots := v.list.chunks[at.chunk].slots
		for at.slot < len(slots) {
			sub := slots[at.slot].Load()
			at.slot++
			if sub != nil {
				return sub
			}
		}
		at.chunk++
		at.slot = 0
	}
	return nil
}
