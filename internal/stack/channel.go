package stack

import (
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/selection"
	"github.com/livegate/livegate/internal/topic"
)

var channelActions = []string{string(model.Join), string(model.Leave), string(model.Publish)}

const channelExample = "Write `Channel: {Join: \"news/${request.body.ch}\"}`."

// channel reads what a route does with a channel:
//
//	Metadata:
//	  Livegate:
//	    Channel: {Join: "news/${request.body.ch}"}   # or Leave: …, or Publish: …
//
// AWS keeps Metadata and does not look at it, so a template with channels stays
// deployable there. A route with a channel needs no Target; with one, the channel
// comes first and then the integration runs, and answers.
func (in *instance) channel(r *cfn.Resource, key string) *model.Channel {
	own := r.Metadata.Entry("Livegate")
	if own == nil {
		return nil
	}
	settings, ok := in.metadataMap(r, own, "Livegate")
	if !ok {
		return nil
	}
	entry := settings.Entry("Channel")
	if entry == nil {
		return nil
	}
	actions, ok := in.metadataMap(r, entry, "Livegate.Channel")
	if !ok {
		return nil
	}
	if len(actions.Map) != 1 {
		in.report(Error, "bad-channel", r, entry.Pos, channelExample, "The Channel of route %s needs exactly one of Join, Leave and Publish; it has %d entries.", key, len(actions.Map))
		return nil
	}
	action := actions.Map[0]
	switch {
	case !slices.Contains(channelActions, action.Key):
		in.report(Error, "bad-channel", r, action.Pos, cfn.DidYouMean(action.Key, channelActions), "The Channel of route %s cannot %s; it can Join, Leave and Publish.", key, quote(action.Key))
		return nil
	case key == model.RouteConnect || key == model.RouteDisconnect:
		in.report(Error, "bad-channel", r, entry.Pos, "Put it on a route that a message selects.", "The route %s cannot have a Channel: nothing can be sent to a connection then.", key)
		return nil
	}
	name := in.channelName(r, key, action)
	if name == "" {
		return nil
	}
	return &model.Channel{Action: model.ChannelAction(action.Key), Name: name, Pos: position(action.Pos)}
}

// metadataMap resolves an entry that must be a map.
func (in *instance) metadataMap(r *cfn.Resource, e *cfn.Entry, path string) (*cfn.Node, bool) {
	v := in.Eval(e.Value)
	if v.Kind == cfn.Map {
		return v, true
	}
	if v.Kind != cfn.Bad {
		in.report(Error, "bad-channel", r, e.Pos, channelExample, "Metadata %s of %s must be a map, not %s.", path, r.ID, v.Kind)
	}
	return nil, false
}

// channelName checks the name of a channel; "" when it is reported.
func (in *instance) channelName(r *cfn.Resource, key string, action cfn.Entry) string {
	v := in.Eval(action.Value)
	switch {
	case v.Kind == cfn.Bad:
		return ""
	case v.Kind != cfn.String || v.Text == "":
		in.report(Error, "bad-channel", r, action.Pos, channelExample, "%s of route %s must be the name of a channel, not %s.", action.Key, key, v.Kind)
		return ""
	}
	expr, err := selection.Compile(v.Text)
	if err != nil {
		in.report(Error, "bad-channel", r, action.Pos, channelExample, "The channel %s of route %s: %v.", quote(v.Text), key, err)
		return ""
	}
	for _, name := range expr.Variables() {
		context, isContext := strings.CutPrefix(name, "context.")
		switch {
		case strings.HasPrefix(name, "request.body."), strings.HasPrefix(name, "request.body["):
			continue
		case isContext && event.IsContext(context):
			continue
		}
		in.report(Error, "bad-channel", r, action.Pos, "Placeholders are ${request.body.NAME} and ${context.NAME}.", "The channel %s of route %s has the unknown placeholder ${%s}.", quote(v.Text), key, name)
		return ""
	}
	if err := channelFits(action.Key, expr.Example("x")); err != nil {
		in.report(Error, "bad-channel", r, action.Pos, channelExample, "The channel %s of route %s never works: %s.", quote(v.Text), key, fault.Message(err))
		return ""
	}
	return v.Text
}

// channelFits checks the shape of a name: a client's message would be blamed for it
// otherwise, every time.
func channelFits(action, name string) (err error) {
	if action == string(model.Publish) {
		_, err = topic.Grammar{}.Channel(name)
	} else {
		_, err = topic.Grammar{}.Filter(name)
	}
	return err
}
