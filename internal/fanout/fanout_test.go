package fanout

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/frame"
	"github.com/livegate/livegate/internal/topic"
)

// modelled is a sink with what it subscribed to and what it must still get.
type modelled struct {
	sink
	subs map[string]bool
	due  []*due
	t    *rapid.T
}

// due is a message, with the filters through which it is owed.
type due struct {
	seq     int
	through map[string]bool
}

func (m *modelled) Deliver(p *frame.Prepared) {
	_, seq := parse(p)
	for len(m.due) > 0 && len(m.due[0].through) == 0 {
		m.due = m.due[1:]
	}
	if len(m.due) == 0 || m.due[0].seq != seq {
		m.t.Fatalf("message %d delivered out of turn", seq)
	}
	m.due = m.due[1:]
}

func (m *modelled) leave(filter string) {
	delete(m.subs, filter)
	for _, d := range m.due {
		delete(d.through, filter)
	}
}

// matches is the model's idea of a wildcard.
func matches(filter, channel string) bool {
	if prefix, ok := strings.CutSuffix(filter, "*"); ok {
		return strings.HasPrefix(channel, prefix)
	}
	return filter == channel
}

// The hub against sets of names: with slices of any length between the steps,
// every sink gets what it is owed, in order, and nothing else.
func TestAgainstModel(t *testing.T) {
	filters := []string{"a", "a/b", "a/b/c", "a/*", "a/b/*", "*"}
	channels := []string{"a", "a/b", "a/b/c", "z"}
	rapid.Check(t, func(t *rapid.T) {
		loops := newStepped(3)
		h := New(Config{Loops: loops, PerSink: 4})
		sinks := make([]*modelled, 60)
		for i := range sinks {
			sinks[i] = &modelled{sink: sink{shard: i % 3}, subs: map[string]bool{}}
		}
		seq := 0
		who := func(t *rapid.T) *modelled { return rapid.SampledFrom(sinks).Draw(t, "sink") }
		join := func(t *rapid.T, m *modelled, f string) {
			err := h.Subscribe(f, m)
			if full := len(m.subs) == 4 && !m.subs[f]; full != fault.Is(err, fault.Throttled) || !full && err != nil {
				t.Fatalf("with %d subscriptions: %v", len(m.subs), err)
			} else if !full {
				m.subs[f] = true
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"subscribe": func(t *rapid.T) { join(t, who(t), rapid.SampledFrom(filters).Draw(t, "filter")) },
			"subscribe all": func(t *rapid.T) {
				f := rapid.SampledFrom(filters).Draw(t, "filter")
				for _, m := range sinks {
					join(t, m, f)
				}
			},
			"unsubscribe": func(t *rapid.T) {
				m, f := who(t), rapid.SampledFrom(filters).Draw(t, "filter")
				err := h.Unsubscribe("/"+f, m)
				if m.subs[f] != (err == nil) || err != nil && !fault.Is(err, fault.NotFound) {
					t.Fatal(err)
				}
				m.leave(f)
			},
			"leave": func(t *rapid.T) {
				m := who(t)
				if n := h.UnsubscribeAll(m); n != len(m.subs) {
					t.Fatalf("%d subscriptions ended, want %d", n, len(m.subs))
				}
				for _, f := range filters {
					m.leave(f)
				}
			},
			"publish": func(t *rapid.T) {
				c := rapid.SampledFrom(channels).Draw(t, "channel")
				for range rapid.IntRange(1, 3).Draw(t, "messages") {
					seq++
					want := 0
					for _, m := range sinks {
						d := &due{seq, map[string]bool{}}
						for f := range m.subs {
							if matches(f, c) {
								d.through[f] = true
								want++
							}
						}
						if len(d.through) > 0 {
							m.due = append(m.due, d)
						}
					}
					if n, err := h.Publish(c, frame.Text, payload(0, seq)); n != want || err != nil {
						t.Fatalf("%d subscriptions, %v; want %d", n, err, want)
					}
				}
			},
			"slice": func(t *rapid.T) {
				for _, m := range sinks {
					m.t = t
				}
				loops.turn(rapid.IntRange(0, 2).Draw(t, "shard"), rapid.IntRange(0, 2).Draw(t, "looks"))
			},
			"drain": func(t *rapid.T) {
				for _, m := range sinks {
					m.t = t
				}
				loops.drain()
				for i, m := range sinks {
					for _, d := range m.due {
						if len(d.through) > 0 {
							t.Fatalf("sink %d never got message %d", i, d.seq)
						}
					}
				}
				if st := h.Stats(); st.Pending != 0 || st.Published != uint64(seq) {
					t.Fatalf("%+v", st)
				}
			},
			"": func(t *rapid.T) {
				subs, with := 0, 0
				for _, m := range sinks {
					subs += len(m.subs)
					with += min(len(m.subs), 1)
				}
				if st := h.Stats(); st.Subscriptions != subs || st.Sinks != with {
					t.Fatalf("%+v; want %d subscriptions of %d sinks", st, subs, with)
				}
			},
		})
	})
}

// Slices end where the clock says so, and go on where they ended, although
// subscribers come and go in between.
func TestSlices(t *testing.T) {
	t.Run("one filter", func(t *testing.T) { testSlices(t, "hot") })
	t.Run("two filters", func(t *testing.T) { testSlices(t, "hot", "*") })
}

func testSlices(t *testing.T, filters ...string) {
	loops := newStepped(1)
	h := New(Config{Loops: loops})
	sinks := make([]*sink, 10_000)
	for i := range sinks {
		sinks[i] = &sink{}
		for _, f := range filters {
			must(t, h.Subscribe(f, sinks[i]))
		}
	}
	n, err := h.Publish("hot", frame.Text, payload(0, 1))
	if n != len(sinks)*len(filters) || err != nil || loops.posts != 1 {
		t.Fatal(n, err, loops.posts)
	}
	gone := map[int]bool{}
	r := rand.New(rand.NewPCG(3, 4))
	turns, before := 0, uint64(0)
	for len(loops.queues[0]) > 0 {
		loops.turn(0, 4)
		now := h.Stats().Delivered
		if now-before > 5*slice {
			t.Fatalf("a slice of 5 looks made %d deliveries", now-before)
		}
		before = now
		turns++
		for range 120 { // more leave than a slice delivers: most chunks are merged
			if i := r.IntN(len(sinks)); sinks[i].count == 0 && !gone[i] {
				gone[i] = true
				h.UnsubscribeAll(sinks[i])
			}
		}
		must(t, h.Subscribe("hot", &sink{got: func(*sink, *frame.Prepared) { t.Error("subscribed after the message was published") }}))
	}
	if turns < 20 || len(gone) < 1_000 {
		t.Fatalf("%d turns, %d left: not what this test is about", turns, len(gone))
	}
	for i, s := range sinks {
		want := 1
		if gone[i] {
			want = 0
		}
		if s.count != want {
			t.Fatalf("sink %d got it %d times, want %d", i, s.count, want)
		}
	}
}

// Many messages to few subscribers are sliced as well.
func TestSlicesOfManyMessages(t *testing.T) {
	loops := newStepped(1)
	h := New(Config{Loops: loops})
	var sinks []*sink
	for i := range 3_000 {
		s := &sink{}
		sinks = append(sinks, s)
		must(t, h.Subscribe(fmt.Sprint(i), s))
	}
	for i := range sinks {
		h.Publish(fmt.Sprint(i), frame.Text, payload(0, i))
	}
	turns := 0
	for len(loops.queues[0]) > 0 {
		before := h.Stats().Delivered
		loops.turn(0, 1)
		if n := h.Stats().Delivered - before; n > 2*slice {
			t.Fatalf("a slice of 2 looks made %d deliveries", n)
		}
		turns++
	}
	for i, s := range sinks {
		if s.count != 1 {
			t.Fatalf("sink %d got %d messages", i, s.count)
		}
	}
	if turns < len(sinks)/(2*slice) {
		t.Fatal(turns)
	}
}

// Messages to the same subscribers go together, in order: one after the other
// they would reach a socket in different turns, and cost a write each.
func TestBatchMeetsEachSinkOnce(t *testing.T) {
	loops := newStepped(1)
	h := New(Config{Loops: loops})
	type entry struct{ sink, seq int }
	var log []entry
	for i := range 100 {
		must(t, h.Subscribe("hot", &sink{got: func(_ *sink, p *frame.Prepared) {
			_, seq := parse(p)
			log = append(log, entry{i, seq})
		}}))
	}
	var want []entry
	for seq := range 16 {
		h.Publish("hot", frame.Text, payload(0, seq))
	}
	loops.drain()
	for i := range log {
		want = append(want, entry{log[i/16*16].sink, i % 16})
	}
	if len(log) != 1600 || !slices.Equal(log, want) {
		t.Fatal("a sink's 16 messages are not delivered one after the other")
	}
	if loops.posts != 1 {
		t.Errorf("%d tasks for 16 messages in one turn, want 1", loops.posts)
	}
}

// What is published while a task runs is another task's: a loop's other tasks
// wait behind one batch, not behind a stream.
func TestStreamLetsOthersIn(t *testing.T) {
	loops := newStepped(1)
	h := New(Config{Loops: loops})
	var order []string
	s := &sink{}
	s.got = func(*sink, *frame.Prepared) {
		order = append(order, "message")
		if s.count < 3 {
			h.Publish("echo", frame.Text, payload(0, s.count))
		}
	}
	must(t, h.Subscribe("echo", s))
	h.Publish("echo", frame.Text, payload(0, 0))
	loops.Post(0, func(func() bool) bool { order = append(order, "other"); return true })
	loops.drain()
	if got := strings.Join(order, " "); got != "message other message message" {
		t.Fatal(got)
	}
}

// A sink that leaves during a batch gets nothing of what is left of it.
func TestUnsubscribeDuringDelivery(t *testing.T) {
	loops := newStepped(1)
	h := New(Config{Loops: loops})
	s := &sink{}
	s.got = func(s *sink, p *frame.Prepared) {
		if s.count == 2 {
			must(t, h.Unsubscribe("a", s))
			must(t, h.Subscribe("a", s)) // anew: what was published before is not for it
		}
	}
	must(t, h.Subscribe("a", s))
	for i := range 5 {
		h.Publish("a", frame.Text, payload(0, i))
	}
	loops.drain()
	if s.count != 2 {
		t.Fatalf("%d messages, want 2", s.count)
	}
	h.Publish("a", frame.Text, payload(0, 9))
	loops.drain()
	if s.count != 3 {
		t.Fatalf("%d messages, want 3", s.count)
	}
}

func TestOneTaskPerShardWithInterest(t *testing.T) {
	loops := newStepped(4)
	h := New(Config{Loops: loops})
	for i := range 30 {
		must(t, h.Subscribe("hot", &sink{shard: i % 3}))
		must(t, h.Subscribe("*", &sink{shard: i % 3}))
	}
	if n, err := h.Publish("hot", frame.Binary, []byte{1}); n != 60 || err != nil {
		t.Fatal(n, err)
	}
	for shard, want := range []int{1, 1, 1, 0} {
		if n := len(loops.queues[shard]); n != want {
			t.Errorf("shard %d has %d tasks, want %d", shard, n, want)
		}
	}
	loops.drain()
	if st := h.Stats(); st.Delivered != 60 || st.Pending != 0 {
		t.Fatalf("%+v", st)
	}
	if n, err := h.Publish("nobody/here", frame.Text, nil); n != 30 || err != nil {
		t.Fatalf("%d by the wildcard, %v", n, err)
	}
}

// The frame is the one that every sink gets, in the bytes of RFC 6455.
func TestEncodedOnce(t *testing.T) {
	loops := newStepped(2)
	h := New(Config{Loops: loops})
	var got []*frame.Prepared
	for i := range 4 {
		must(t, h.Subscribe("news", &sink{shard: i % 2, got: func(_ *sink, p *frame.Prepared) { got = append(got, p) }}))
	}
	h.Publish("/news", frame.Text, []byte("hi"))
	loops.drain()
	if len(got) != 4 || got[0] != got[1] || got[0] != got[3] {
		t.Fatal(got)
	}
	if string(got[0].Plain()) != "\x81\x02hi" || got[0].Key != "news" {
		t.Fatalf("%q, key %q", got[0].Plain(), got[0].Key)
	}
	h.PublishPrepared("news", got[0])
	loops.drain()
	if len(got) != 8 || got[7] != got[0] {
		t.Fatal("a prepared message is passed on as it is")
	}
}

// A sink with many subscriptions finds each of them again.
func TestManySubscriptionsOfOneSink(t *testing.T) {
	h := New(Config{Loops: newStepped(1), PerSink: 1000})
	s := &sink{}
	name := func(i int) string { return fmt.Sprintf("c/%d", i) }
	for range 2 {
		for i := range 1000 {
			must(t, h.Subscribe(name(i), s))
			must(t, h.Subscribe(name(i), s))
		}
		for _, i := range rand.Perm(1000)[:990] {
			must(t, h.Unsubscribe(name(i), s))
			if err := h.Unsubscribe(name(i), s); !fault.Is(err, fault.NotFound) {
				t.Fatal(err)
			}
		}
		if n := h.UnsubscribeAll(s); n != 10 {
			t.Fatalf("%d left, want 10", n)
		}
	}
	if st := h.Stats(); st != (Stats{}) {
		t.Fatalf("%+v", st)
	}
}

func TestGrammarIsTheConfigs(t *testing.T) {
	h := New(Config{Loops: newStepped(1), Grammar: topic.AppSync()})
	if err := h.Subscribe("user:42", &sink{}); !fault.Is(err, fault.BadRequest) {
		t.Fatal(err)
	}
}

// The number of allocations does not hang on the number of subscribers.
func TestAllocations(t *testing.T) {
	loops := newStepped(2)
	h := New(Config{Loops: loops})
	for i := range 5_000 {
		must(t, h.Subscribe("hot", &sink{shard: i % 2}))
	}
	message := payload(0, 1)
	forever := func() bool { return false }
	publish := func() {
		h.Publish("hot", frame.Text, message)
		for i, q := range loops.queues {
			for _, task := range q {
				task(forever)
			}
			loops.queues[i] = q[:0]
		}
	}
	// The frame and its bytes; nothing for 5000 deliveries.
	if n := testing.AllocsPerRun(50, publish); n > 2 {
		t.Errorf("%v allocations per message to 5000, want 2", n)
	}
	must(t, h.Subscribe("*", &sink{}))
	if n := testing.AllocsPerRun(50, publish); n > 3 {
		t.Errorf("%v allocations per message through two filters, want 3", n)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Sinks that came, got messages and went leave nothing behind.
func TestMemoryReturns(t *testing.T) {
	loops := newStepped(2)
	h := New(Config{Loops: loops})
	base := heap()
	for range 3 {
		sinks := make([]*sink, 10_000)
		for i := range sinks {
			sinks[i] = &sink{shard: i % 2}
			must(t, h.Subscribe("hot", sinks[i]))
			must(t, h.Subscribe(fmt.Sprintf("own/%d", i), sinks[i]))
		}
		for i := range 1_000 {
			h.Publish(fmt.Sprintf("own/%d", i), frame.Text, payload(0, i))
			if i%100 == 0 {
				h.Publish("hot", frame.Text, payload(0, i))
				loops.drain()
			}
		}
		loops.drain()
		for _, i := range rand.Perm(len(sinks)) {
			h.UnsubscribeAll(sinks[i])
		}
	}
	if after := heap(); after > base+64<<10 {
		t.Errorf("%d bytes are left", after-base)
	}
	runtime.KeepAlive(h)
}
