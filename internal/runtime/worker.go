package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/model"
)

// link is one of the two ways to talk to a worker's process. It reports back
// through the worker's on… methods.
type link interface {
	// deliver hands over an invocation. It may block while the process does not
	// read; killing the process ends that.
	deliver(c *call) error
	// stop tells the process that there is nothing more to do.
	stop()
	// drain returns when everything the process said has been reported. The
	// process has exited.
	drain()
}

// worker is one process.
type worker struct {
	// Static after start.
	rt       *Runtime
	fn       *function
	rev      *revision
	identity Worker
	link     link
	cmd      *exec.Cmd
	stream   string        // log stream name
	started  chan struct{} // closed when initialisation ended either way
	gone     chan struct{} // closed when the process has been reaped

	idleSince time.Time // guarded by fn.mu

	mu sync.Mutex
	// Guarded by mu.
	call   *call  // the invocation under way
	last   string // request id of the last one, for late output
	fatal  []byte // what a dying process said
	ready  bool
	dead   bool // killed or exited: never used again
	reaped bool // the process id is no longer ours

	out, err lineBuffer // frames' log text; owned by the link's reader
}

// startWorker starts a process and waits until it is ready. failure is what the
// invocation that asked for it gets.
func (r *Runtime) startWorker(f *function, rev *revision) (w *worker, failure *model.InvokeResult) {
	w = &worker{
		rt: r, fn: f, rev: rev, identity: newIdentity(),
		started: make(chan struct{}), gone: make(chan struct{}),
	}
	w.identity.Function = rev.fn
	w.stream = r.cfg.Clock.Now().UTC().Format("2006/01/02") + "/[$LATEST]" + strings.ReplaceAll(id.NewUUID(), "-", "")
	if err := w.launch(); err != nil {
		r.event("error", f.name, "", "cannot start: "+err.Error())
		return nil, failed("Runtime.InvalidEntrypoint", fmt.Sprintf("function %s cannot start: %v", f.name, err))
	}
	timer := time.NewTimer(r.cfg.InitTimeout)
	defer timer.Stop()
	select {
	case <-w.started:
	case <-timer.C:
		text := fmt.Sprintf("Init phase timed out after %.2f seconds", r.cfg.InitTimeout.Seconds())
		r.event("error", f.name, "", text)
		w.kill()
		<-w.gone
		return nil, failed("Sandbox.Timedout", text)
	case <-r.ctx.Done():
		w.kill()
		<-w.gone
		return nil, failed("Runtime.ExitError", "livegate is stopping")
	}
	w.mu.Lock()
	ready, fatal := w.ready, w.fatal
	w.mu.Unlock()
	if ready {
		return w, nil
	}
	w.kill()
	<-w.gone
	if fatal != nil {
		return nil, errorResult(fatal)
	}
	return nil, failed("Runtime.ExitError", w.exitMessage(""))
}

// launch starts the process and the goroutines around it.
func (w *worker) launch() error {
	var files []*os.File // ours to close after the start
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	out := w.rev.output
	cmd := exec.Command(out.Command[0], out.Command[1:]...) //nolint:noctx // it outlives the call that starts it; kill ends it
	cmd.Dir = out.Task
	var api string
	if out.Frames {
		p, child, err := newPipeLink(w)
		if err != nil {
			return err
		}
		cmd.Args = append(cmd.Args, w.rt.bootstrapArgs(out)...)
		cmd.ExtraFiles = child
		files, w.link = append(files, child...), p
	} else {
		a, err := newAPILink(w)
		if err != nil {
			return err
		}
		w.link, api = a, a.address()
	}
	cmd.Env = w.rt.environment(w, api)
	stdout, stderr, closers, err := outputs(cmd)
	if err != nil {
		w.link.stop()
		return err
	}
	files = append(files, closers...)
	prepare(cmd)
	w.cmd = cmd

	if err := w.spawn(); err != nil {
		w.link.stop()
		stdout.Close()
		stderr.Close()
		return err
	}
	var readers sync.WaitGroup
	readers.Go(func() { w.copyOutput(stdout, "info", "stdout") })
	readers.Go(func() { w.copyOutput(stderr, "warn", "stderr") })
	go w.reap(&readers, stdout, stderr)
	if p, ok := w.link.(*pipeLink); ok {
		go p.read()
	}
	return nil
}

// spawn makes the worker known, because its process may call at once, and starts
// the process. It holds mu meanwhile: Close may find the worker already, and its
// kill has to wait until there is a process to kill.
func (w *worker) spawn() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rt.mu.Lock()
	w.rt.workers[w.identity.AccessKeyID] = w
	w.rt.mu.Unlock()
	err := w.rt.spawn.start(w.cmd)
	if err != nil {
		w.dead, w.reaped = true, true
		w.forget()
		close(w.gone)
	}
	return err
}

// outputs gives cmd pipes for stdout and stderr. Not cmd.StdoutPipe: Wait would
// close those while lines are still in them.
func outputs(cmd *exec.Cmd) (stdout, stderr *os.File, child []*os.File, err error) {
	stdout, outW, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	stderr, errW, err := os.Pipe()
	if err != nil {
		stdout.Close()
		outW.Close()
		return nil, nil, nil, err
	}
	cmd.Stdout, cmd.Stderr = outW, errW
	return stdout, stderr, []*os.File{outW, errW}, nil
}

// copyOutput turns what the process writes to a raw stream into log lines.
func (w *worker) copyOutput(f *os.File, level, stream string) {
	var lines lineBuffer
	emit := func(text string) { w.log(level, stream, text) }
	buf := make([]byte, 32<<10)
	for {
		n, err := f.Read(buf)
		lines.addLines(buf[:n], emit)
		if err != nil {
			lines.flush(emit)
			return
		}
	}
}

// reap waits for the process, lets its last words arrive, and settles what it
// was doing.
func (w *worker) reap(readers *sync.WaitGroup, streams ...*os.File) {
	awaitExit(w.cmd.Process.Pid)
	w.mu.Lock()
	killGroup(w.cmd.Process.Pid) // its children would keep our pipes open
	w.reaped = true
	w.mu.Unlock()
	w.cmd.Wait() //nolint:errcheck // read from cmd.ProcessState
	for _, f := range streams {
		f.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) //nolint:errcheck // a pipe without deadline ends with its writers
	}
	w.link.drain()
	readers.Wait()
	for _, f := range streams {
		f.Close()
	}
	w.mu.Lock()
	c := w.call
	wasDead := w.dead
	w.dead = true
	fatal, ready := w.fatal, w.ready
	w.mu.Unlock()
	if !wasDead && ready {
		w.fn.lost(w)
	}
	switch {
	case c != nil && !c.received():
		w.complete(c, outcome{again: true})
	case c != nil && fatal != nil:
		w.complete(c, outcome{result: *errorResult(fatal)})
	case c != nil:
		w.rt.event("error", w.fn.name, c.id, w.exitMessage(c.id))
		w.complete(c, outcome{result: *failed("Runtime.ExitError", w.exitMessage(c.id))})
	}
	w.endStart()
	w.forget()
	close(w.gone)
}

// exitMessage is AWS's wording for a process that ended.
func (w *worker) exitMessage(requestID string) string {
	text := "Runtime exited without providing a reason"
	if s := w.cmd.ProcessState; s != nil && !s.Success() {
		text = "Runtime exited with error: " + s.String()
	}
	if requestID == "" {
		return "Error: " + text
	}
	return "RequestId: " + requestID + " Error: " + text
}

func (w *worker) forget() {
	w.rt.mu.Lock()
	delete(w.rt.workers, w.identity.AccessKeyID)
	w.rt.mu.Unlock()
}

func (w *worker) endStart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.started:
	default:
		close(w.started)
	}
}

func (w *worker) dying() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

func (w *worker) tag() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.call == nil {
		return ""
	}
	return w.call.inv.Tag
}

// bury marks the worker dead and takes it out of its function's books; false
// when it was dead already.
func (w *worker) bury() bool {
	w.mu.Lock()
	was, counted := w.dead, w.ready
	w.dead = true
	w.mu.Unlock()
	if !was && counted {
		w.fn.lost(w)
	}
	return !was
}

// kill ends the process and all its children, at once: without extensions a
// Lambda process is given no time to say goodbye either.
func (w *worker) kill() {
	w.bury()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.reaped { // afterwards the id may belong to somebody else
		killGroup(w.cmd.Process.Pid)
	}
}

// log emits a line of the process under the invocation it belongs to.
func (w *worker) log(level, stream, text string) {
	w.mu.Lock()
	c, id := w.call, w.last
	if c != nil {
		id = c.id
		c.keepTail(text)
	}
	w.mu.Unlock()
	if len(text) > maxLine {
		text = text[:maxLine] + " …"
	}
	w.rt.logs.put(model.LogLine{At: w.rt.cfg.Clock.Now(), Level: level, Source: w.fn.name, RequestID: id, Text: text, Stream: stream})
}

// What links report.

func (w *worker) onReady() {
	w.mu.Lock()
	w.ready = true
	w.mu.Unlock()
	w.endStart()
}

func (w *worker) onInitError(object []byte) {
	w.mu.Lock()
	w.fatal = object
	w.mu.Unlock()
	w.endStart()
}

func (w *worker) onResult(c *call, payload []byte) {
	w.complete(c, outcome{result: model.InvokeResult{Payload: payload}})
}

func (w *worker) onError(c *call, object []byte) {
	w.complete(c, outcome{result: *errorResult(object)})
}

// onFatal is a process about to exit. busy says whether it was running an
// invocation: if not, one that was just handed over never began.
func (w *worker) onFatal(object []byte, busy bool) {
	w.bury() // first: what is handed over from here on goes to another worker
	w.mu.Lock()
	c := w.call
	w.fatal = object
	w.mu.Unlock()
	w.kill()
	switch {
	case c != nil && busy:
		w.complete(c, outcome{result: *errorResult(object)})
	case c != nil:
		w.complete(c, outcome{again: true})
	}
}

// onGarbage is a process that broke the protocol: nothing it says can be
// trusted any more.
func (w *worker) onGarbage(what string) {
	w.mu.Lock()
	c, ready := w.call, w.ready
	w.mu.Unlock()
	text := "Error: " + what + ": the worker was stopped"
	w.kill()
	if c != nil {
		text = "RequestId: " + c.id + " " + text
		w.rt.event("error", w.fn.name, c.id, text)
		w.complete(c, outcome{result: *failed("Runtime.ExitError", text)})
		return
	}
	w.rt.event("error", w.fn.name, "", text)
	if !ready {
		w.onInitError(failed("Runtime.ExitError", text).Payload)
	}
}

// failed builds an error result.
func failed(errorType, message string) *model.InvokeResult {
	object, err := json.Marshal(struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{errorType, message})
	if err != nil {
		object = []byte(`{"errorType":"Runtime.Unknown"}`)
	}
	return &model.InvokeResult{Payload: object, FunctionError: "Unhandled", ErrorType: errorType}
}

// errorResult builds an error result from the object that a process sent.
func errorResult(object []byte) *model.InvokeResult {
	var head struct {
		Type string `json:"errorType"`
	}
	if json.Unmarshal(object, &head) != nil {
		return failed("Runtime.Unknown", "the function reported an error that is not JSON: "+string(object[:min(len(object), 200)]))
	}
	return &model.InvokeResult{Payload: object, FunctionError: "Unhandled", ErrorType: head.Type}
}
