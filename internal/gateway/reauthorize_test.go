package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/authz"
	"github.com/livegate/livegate/internal/model"
)

// renewing lets everybody in for a while, and takes one token.
type renewing struct {
	*authz.Guard
	first, second time.Time
}

func (g renewing) Authorize(context.Context, *authz.Plan, *authz.Request) (*authz.Grant, error) {
	return &authz.Grant{Expires: g.first, Authorizer: []byte(`{"principalId":"ann","n":"1"}`)}, nil
}

func (g renewing) Renew(_ context.Context, _ *authz.Plan, _ *authz.Grant, token string) (*authz.Grant, error) {
	if token != "good" {
		return nil, &authz.Refusal{Status: 401, Message: "Unauthorized", Cause: "the token is not valid"}
	}
	return &authz.Grant{Expires: g.second, Authorizer: []byte(`{"principalId":"ann","n":"2"}`)}, nil
}

// A connection whose token was replaced outlives the first one; a token that is refused
// changes nothing.
func TestReauthorize(t *testing.T) {
	for _, v := range []struct{ message, answer, context string }{
		{`{"action":"renew","token":"good"}`, `{"action":"reauthorize"}`, `"n":"2"`},
		{`{"action":"renew","token":"bad"}`, `{"message": "Unauthorized"`, `"n":"1"`},
		{`{"action":"renew"}`, `{"message": "Unauthorized"`, `"n":"1"`},
	} {
		now := time.Now()
		var log []string
		g := newGateway(t, nil, func(l model.LogLine) { log = append(log, l.Text) }, mockRoute)
		g.cfg.Guard = renewing{authz.New(authz.Config{}), now.Add(100 * time.Millisecond), now.Add(time.Hour)}
		deploy(t, g, &model.Route{Key: "renew", TwoWay: true, Reauthorize: true},
			&model.Route{Key: "$connect", Access: &model.Access{Origins: []string{"https://app.example.com"}}})
		l := &closing{closed: make(chan int, 1)}
		answers := make(chan string, 4)
		s := enter(t, g, &heard{closing: l, answers: answers})
		s.onMessage([]byte(v.message), false)
		if got := <-answers; !strings.HasPrefix(got, v.answer) {
			t.Errorf("%s: %s", v.message, got)
		}
		if got := string(s.extra.Load().authorizer); !strings.Contains(got, v.context) {
			t.Errorf("%s: %s", v.message, got)
		}
		select {
		case code := <-l.closed:
			if v.context == `"n":"2"` || code != 4401 {
				t.Errorf("%s: closed with %d", v.message, code)
			}
		case <-time.After(400 * time.Millisecond):
			if v.context == `"n":"1"` {
				t.Errorf("%s: not closed", v.message)
			}
		}
		finish(t, g, s)
		if strings.Contains(strings.Join(log, "\n"), "good") {
			t.Errorf("the token is in the log: %q", log)
		}
	}
}

type heard struct {
	*closing
	answers chan string
}

func (h *heard) Send(text []byte) error { h.answers <- string(text); return nil }
