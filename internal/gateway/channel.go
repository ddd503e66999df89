package gateway

import (
	"bytes"
	"time"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fanout"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/frame"
	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/selection"
)

// Members knows who is in which channel. Its methods never block. Names it does
// not like are errors of kind fault.BadRequest, whose text the client is told.
type Members interface {
	Subscribe(channel string, s fanout.Sink) error
	Unsubscribe(channel string, s fanout.Sink) error // fault.NotFound: was not in it
	UnsubscribeAll(s fanout.Sink) int
}

// Publisher sends one message to everybody in a channel. It never blocks and does
// not keep the payload.
type Publisher interface {
	Publish(channel string, op frame.Opcode, payload []byte) (subscriptions int, err error)
}

// Channels is what the channel routes of a stage run on; *fanout.Hub is.
type Channels interface {
	Members
	Publisher
}

// channel is a compiled channel action of a route.
type channel struct {
	action model.ChannelAction
	name   *selection.Expr
	verb   string // "join", for answers
}

var verbs = map[model.ChannelAction]string{model.Join: "join", model.Leave: "leave", model.Publish: "publish"}

func compileChannel(m *model.Channel) (*channel, error) {
	if m == nil {
		return nil, nil
	}
	name, err := selection.Compile(m.Name)
	if err != nil {
		return nil, err
	}
	verb := verbs[m.Action]
	if verb == "" {
		return nil, fault.New(fault.BadRequest, "unknown channel action %q: use Join, Leave or Publish", m.Action)
	}
	return &channel{m.Action, name, verb}, nil
}

// fits accepts the value of a placeholder: one segment, or a part of one. A client
// that could put a slash or a wildcard into "room/${request.body.id}" would choose
// among channels that the template did not mean.
func fits(value []byte) bool { return len(value) > 0 && !bytes.ContainsAny(value, "/*") }

// act does what the route says with a channel, and returns its name.
func (s *session) act(j *job) (name string, err error) {
	g, c, body := s.slot.g, j.route.channel, j.body
	sc := g.scratch()
	sc.vars.Body = body
	sc.session, sc.stage, sc.route = s, j.stage, j.route
	key, bad := c.name.AppendFit(sc.key[:0], &sc.vars, fits)
	if bad == "" {
		name = string(key)
	}
	g.putScratch(sc, key)
	if bad != "" {
		return "", fault.New(fault.BadRequest, "Invalid channel: ${%s} must be text without / and *", bad)
	}
	n, hub := s.stats(), s.slot.channels
	switch c.action {
	case model.Join:
		// In this order: whichever of finish and this comes second sees the other.
		s.joined.Store(true)
		if err = hub.Subscribe(name, s); err != nil {
			return name, err
		}
		n.joins.Add(1)
		if s.over.Load() {
			hub.UnsubscribeAll(s)
		}
	case model.Leave:
		if err = hub.Unsubscribe(name, s); err == nil {
			n.leaves.Add(1)
		} else if fault.Is(err, fault.NotFound) {
			err = nil // it is out of the channel, which is what it asked for
		}
	default:
		if _, err = hub.Publish(name, j.opcode(), body); err == nil {
			n.publishes.Add(1)
		}
	}
	return name, err
}

// channelMessage runs a route's channel action; false when the message is done
// with, because it failed or because the route has nothing else.
func (s *session) channelMessage(j *job) bool {
	name, err := s.act(j)
	if err != nil {
		switch fault.KindOf(err) {
		case fault.BadRequest: // the sender named no channel
			s.refuse(j, err, "warn", fault.Message(err))
		case fault.Throttled: // it wants too much
			s.refuse(j, err, "warn", frameText(err))
		default:
			s.fail(j, err)
		}
		return false
	}
	if j.route.model.Integration != nil {
		return true
	}
	var resp integration.Response
	if j.route.model.TwoWay {
		answer := append(make([]byte, 0, 64), `{"action":"`...)
		answer = append(append(answer, j.route.channel.verb...), `","channel":`...)
		resp.Body = append(event.AppendString(answer, name), '}')
		s.reply(j, &resp)
	}
	s.follow(j, &resp)
	if g := s.slot.g; g.verbose {
		g.log("info", "", "route %s: %s %s %s", j.route.model.Key, s.entry.ID(), j.route.channel.verb, name)
	}
	return false
}

// variable looks up a $context variable for a channel's name.
func (sc *scratch) variable(path string) (string, bool) {
	if sc.session == nil {
		return "", false // a route selection expression, which has no $context
	}
	call := event.Call{RouteKey: sc.route.model.Key, At: time.Now()}
	return event.Context(sc.session.connection(sc.stage), &call, event.TypeMessage, path)
}

// Shard is the event loop of the connection.
func (s *session) Shard() int { return s.link().Shard() }

// Deliver queues a channel's message.
func (s *session) Deliver(p *frame.Prepared) {
	l, n := s.link(), s.stats()
	if err := l.SendPrepared(p); err != nil {
		n.dropped.Add(1)
		return
	}
	n.delivered.Add(1)
	s.slot.current.Load().tally.lanes[l.Shard()&(stripes-1)].messages.Add(1)
	if s.slot.g.limits.Idle > 0 {
		l.Touch()
	}
}

var (
	_ fanout.Sink = (*session)(nil)
	_ Channels    = (*fanout.Hub)(nil)
)
