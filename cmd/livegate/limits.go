package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/livegate/livegate/internal/app"
)

// limitFlags change single limits of the profile. Empty means the profile's.
type limitFlags struct {
	message, frame, idle, lifetime, requests, connects string
}

func (l *limitFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&l.message, "max-message", "", "largest message, e.g. 128KB or 4MB; 0 is no limit (default: 128KB with --profile aws, 1MB with open)")
	fs.StringVar(&l.frame, "max-frame", "", "largest frame from a client; 0 is no limit (default: 32KB with --profile aws, none with open)")
	fs.StringVar(&l.idle, "idle-timeout", "", "close clients with 1001 that were silent this long; 0 is never (default: 10m with --profile aws, never with open)")
	fs.StringVar(&l.lifetime, "max-lifetime", "", "close clients with 1001 after this long; 0 is never (default: 2h with --profile aws, never with open)")
	fs.StringVar(&l.requests, "request-rate", "", "handshakes and messages per second, as AWS's account quota; 0 is no limit (default: 10000 with --profile aws, none with open)")
	fs.StringVar(&l.connects, "connect-rate", "", "new connections per second, as AWS's account quota; 0 is no limit (default: 500 with --profile aws, none with open)")
	variable(fs, "max-message", "max-frame", "idle-timeout", "max-lifetime", "request-rate", "connect-rate")
}

func (l *limitFlags) apply(out *app.LimitChanges) (err error) {
	for _, f := range []struct {
		name, text string
		to         *int
	}{{"max-message", l.message, &out.Message}, {"max-frame", l.frame, &out.Frame}} {
		if *f.to, err = byteSize(f.name, f.text); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name, text string
		to         *time.Duration
	}{{"idle-timeout", l.idle, &out.Idle}, {"max-lifetime", l.lifetime, &out.Lifetime}} {
		if f.text == "" {
			continue
		}
		d, err := time.ParseDuration(f.text)
		if err != nil || d < 0 {
			return usagef("--%s %s: want a time, e.g. 90s or 2h, or 0 for never", f.name, f.text)
		}
		if *f.to = d; d == 0 {
			*f.to = app.NoLimit
		}
	}
	for _, f := range []struct {
		name, text string
		to         *float64
	}{{"request-rate", l.requests, &out.Requests}, {"connect-rate", l.connects, &out.Connects}} {
		if f.text == "" {
			continue
		}
		r, err := strconv.ParseFloat(f.text, 64)
		if err != nil || !(r >= 0 && r <= 1e9) { // NaN too
			return usagef("--%s %s: want a number per second, or 0 for no limit", f.name, f.text)
		}
		if *f.to = r; r == 0 {
			*f.to = app.NoLimit
		}
	}
	return nil
}

// byteSize reads "128KB", "4MB", "1GB" or bytes; units are powers of 1024, as in AWS's
// quotas.
func byteSize(name, text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	number, unit := strings.TrimSpace(strings.ToUpper(text)), 1
	for suffix, n := range map[string]int{"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = strings.TrimSpace(rest), n
		}
	}
	n, err := strconv.ParseInt(number, 10, 32)
	switch {
	case err != nil || n < 0 || n*int64(unit) > 1<<30:
		return 0, usagef("--%s %s: want a size up to 1GB, e.g. 131072, 128KB or 4MB, or 0 for no limit", name, text)
	case n == 0:
		return app.NoLimit, nil
	case n*int64(unit) < 1024:
		return 0, &usageError{msg: fmt.Sprintf("--%s %s: less than 1KB would refuse what clients normally send", name, text)}
	}
	return int(n) * unit, nil
}
