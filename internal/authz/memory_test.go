package authz

import (
	"runtime"
	"testing"
)

// What a connection keeps of its authorization.
func TestGrantsAreSmall(t *testing.T) {
	const n = 5000
	for name, v := range map[string]struct {
		world *world
		most  int
	}{
		"anybody with a key":  {signedWorld(t), 512},
		"a key with policies": {signedWorld(t, `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`), 640},
	} {
		w := v.world
		p, r := w.plan(), w.handshake("", inHeader(key, scope, at))
		grants := make([]*Grant, n)
		before := heap()
		for i := range grants {
			var no *Refusal
			if grants[i], no = w.authorize(p, r); no != nil {
				t.Fatal(no)
			}
		}
		each := (heap() - before) / n
		t.Logf("%s: %d bytes", name, each)
		if each > v.most {
			t.Errorf("%s: %d bytes, want at most %d", name, each, v.most)
		}
		runtime.KeepAlive(grants)
	}
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
