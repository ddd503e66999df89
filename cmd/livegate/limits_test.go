package main

import (
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/app"
)

func TestLimitFlags(t *testing.T) {
	l := limitFlags{message: "4MB", frame: "0", idle: "90s", lifetime: "0", requests: "2.5", connects: "0"}
	var got app.LimitChanges
	if err := l.apply(&got); err != nil {
		t.Fatal(err)
	}
	want := app.LimitChanges{Message: 4 << 20, Frame: app.NoLimit, Idle: 90 * time.Second, Lifetime: app.NoLimit, Requests: 2.5, Connects: app.NoLimit}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	got = app.LimitChanges{}
	if err := (&limitFlags{}).apply(&got); err != nil || got != (app.LimitChanges{}) {
		t.Errorf("no flags: %+v, %v", got, err)
	}
	for name, bad := range map[string]limitFlags{
		"--max-message":  {message: "lots"},
		"--max-frame":    {frame: "-1"},
		"1GB":            {message: "2GB"},
		"1KB":            {frame: "100"},
		"--idle-timeout": {idle: "10"},
		"--max-lifetime": {lifetime: "-1s"},
		"--request-rate": {requests: "NaN"},
		"--connect-rate": {connects: "fast"},
	} {
		if err := bad.apply(&app.LimitChanges{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: %v, want %q", bad, err, name)
		}
	}
}
