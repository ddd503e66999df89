package gateway

import (
	"fmt"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/schema"
	"github.com/livegate/livegate/internal/selection"
)

// models are what a route's messages must fit (Developer Guide, "Set up a WebSocket
// API request validation"). They are checked where a message may take its time, never
// on an event loop.
type models struct {
	choice  *selection.Expr
	schemas map[string]*schema.Schema // by selection key
}

// compileModels reads the models of a route; nil without a ModelSelectionExpression,
// whatever RequestModels say: without the expression AWS validates nothing.
func compileModels(a *model.API, set *schema.Set, rt *model.Route) (*models, error) {
	if rt.ModelSelectionExpression == "" || rt.Key == model.RouteConnect || rt.Key == model.RouteDisconnect {
		return nil, nil
	}
	m := &models{schemas: make(map[string]*schema.Schema, len(rt.RequestModels))}
	var err error
	if m.choice, err = selection.Compile(rt.ModelSelectionExpression); err != nil {
		return nil, fmt.Errorf("ModelSelectionExpression: %w", err)
	}
	for key, name := range rt.RequestModels {
		s, err := set.Compile(name)
		if err != nil {
			for _, known := range a.Models {
				if at := known.Pos.String(); known.Name == name && at != "" {
					err = fault.New(fault.BadRequest, "%s: %s", at, fault.Message(err))
				}
			}
			return nil, err
		}
		m.schemas[key] = s
	}
	return m, nil
}

// modelSet gathers the models of an API, which may refer to each other.
func modelSet(a *model.API) *schema.Set {
	texts := make(map[string]string, len(a.Models))
	for _, m := range a.Models {
		texts[m.Name] = m.Schema
	}
	return schema.NewSet(texts)
}

// pick chooses the model of a message: the one under the value of the expression,
// else the one under $default, which templates also write \$default; nil when there is
// neither, which is a failed validation.
func (m *models) pick(g *Gateway, body []byte) *schema.Schema {
	sc := g.scratch()
	sc.vars.Body = body
	key, ok := m.choice.Append(sc.key[:0], &sc.vars)
	var s *schema.Schema
	if ok {
		s = m.schemas[string(key)]
	}
	g.putScratch(sc, key)
	for _, catchAll := range []string{model.RouteDefault, `\` + model.RouteDefault} {
		if s == nil {
			s = m.schemas[catchAll]
		}
	}
	return s
}

// valid checks a message, and answers one that does not fit. What is wrong with it
// goes to the log only, as on AWS.
func (s *session) valid(j *job) bool {
	g := s.slot.g
	var err error
	if found := j.route.models.pick(g, j.body); found == nil {
		err = fault.New(fault.BadRequest, "no model fits the ModelSelectionExpression %s, and there is none under $default", j.route.models.choice)
	} else {
		err = found.Validate(j.body)
	}
	if err == nil {
		return true
	}
	s.stats().invalid.Add(1)
	s.tally(j, func(t *laneTally) { t.clientErrors.Add(1) })
	why := fault.Message(err)
	if g.verbose {
		g.log("warn", j.id(), "route %s: the message of %s is not valid: %s", j.key(), s.entry.ID(), why)
	}
	s.send(errorFrame(textInvalid, s.entry.ID().String(), j.id()))
	if j.stage.access != nil {
		s.access(j, event.Outcome{Status: 400, Error: event.Failure{Message: textInvalid, ResponseType: "BAD_REQUEST_BODY", ValidationErrors: why}})
	}
	return false
}
