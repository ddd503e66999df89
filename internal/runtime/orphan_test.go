package runtime

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/model"
)

const orphanDir = "LIVEGATE_TEST_ORPHAN_DIR"

// A killed livegate must not leave workers behind, not even one in an endless
// loop that will never look at its pipe.
func TestWorkersDieWithLivegate(t *testing.T) {
	need(t, "node")
	if goruntime.GOOS != "linux" {
		t.Skip("only Linux kills a busy worker; elsewhere it dies when it next reads its pipe")
	}
	if dir := os.Getenv(orphanDir); dir != "" {
		parentOfOrphans(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestWorkersDieWithLivegate$", "-test.v")
	cmd.Env = append(os.Environ(), orphanDir+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for lines := bufio.NewScanner(out); len(pids) < 2 && lines.Scan(); {
		if _, text, ok := strings.Cut(lines.Text(), "worker "); ok {
			pid, err := strconv.Atoi(text)
			if err != nil {
				t.Fatalf("line %q", lines.Text())
			}
			pids = append(pids, pid)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if len(pids) != 2 {
		t.Fatalf("the helper reported workers %v, want 2", pids)
	}
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, pid := range pids {
		for alive(pid) {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("worker %d outlives livegate", pid)
			}
		}
	}
}

// alive reports whether a process runs; a zombie that nobody reaps does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// parentOfOrphans runs one idle and one spinning worker until it is killed.
func parentOfOrphans(t *testing.T, dir string) {
	s := newStand(t, Config{DataDir: dir}, js(`exports.handler = async (e) => { if (e.spin) for (;;); return 1; };`), &model.Function{}, &model.Function{Name: "busy", Timeout: time.Hour})
	s.call("fn", "{}")
	go s.Invoke(t.Context(), model.Invocation{Function: "busy", Payload: []byte(`{"spin":true}`)})
	s.until(func() bool { return s.Functions()[1].Busy == 1 })
	for _, w := range s.liveWorkers() {
		fmt.Printf("worker %d\n", w.cmd.Process.Pid)
	}
	select {}
}
