//go:build linux

package proc

import (
	"net"
	"os"
	"testing"
	"time"
)

func TestOwnProcessIsSeen(t *testing.T) {
	me := []int{os.Getpid()}
	before, machine := CPUOf(me), Machine()
	for end := time.Now().Add(10 * time.Second); CPUOf(me).Sub(before).Total() < 0.05; {
		if time.Now().After(end) {
			t.Fatal("50 ms of work did not show in ten seconds")
		}
	}
	if got := Machine() - machine; got < 0.03 {
		t.Errorf("the machine was busy for %.2f s while this process worked 0.05 s", got)
	}
	if rss := RSS(me); rss < 1<<20 || rss > 1<<34 {
		t.Errorf("RSS %d", rss)
	}
	if n := Threads(me); n < 1 {
		t.Errorf("%d threads", n)
	}
	if !Alive(os.Getpid()) || Alive(1<<22+1) {
		t.Error("Alive is wrong about this process or about one that cannot be")
	}
	tree := Tree([]int{os.Getppid()})
	found := false
	for _, p := range tree {
		found = found || p == os.Getpid()
	}
	if !found {
		t.Errorf("the parent's tree %v lacks this process", tree)
	}
}

func TestSocketsAreCounted(t *testing.T) {
	me := []int{os.Getpid()}
	all, sockets := Files(me)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	all2, sockets2 := Files(me)
	if sockets2 != sockets+1 || all2 < all+1 {
		t.Errorf("before %d files, %d sockets; with one more socket %d, %d", all, sockets, all2, sockets2)
	}
}
