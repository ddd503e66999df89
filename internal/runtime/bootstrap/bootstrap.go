// Package bootstrap holds the small programs that run inside a function's
// process: the Node.js and Python bootstraps, which speak frames over two pipes,
// and the Node.js hook that keeps SDK calls at home.
//
// The wire between livegate and a bootstrap, the same for both languages: on
// descriptor 3 livegate writes, on descriptor 4 it reads. A frame is a 4-byte
// big-endian length of what follows, one type byte, and the body.
//
//	→ 'I' invoke   2-byte length of the head, the head, the event as JSON
//	← 'R' ready    empty: initialisation has finished
//	← 'F' failed   error object: initialisation has failed, the process exits
//	← 'O' output   the function's answer
//	← 'E' error    error object: the invocation has failed, the worker lives on
//	← 'X' fatal    '1' or '0' (an invocation is under way), error object: the process exits
//	← 'L' log      one level byte ('i', 'w', 'e'), one stream byte ('1', '2'), text
//
// The head of an invocation is lines, not JSON, so that the event is the only
// thing parsed: request id, deadline in Unix milliseconds, trace header, function
// ARN, and the raw client context (last, because it may hold line breaks).
//
// End of file on descriptor 3 ends the process.
package bootstrap

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
)

// MaxFrame bounds the body of a frame in either direction. Answers are limited
// to 6 MB and events likewise; the rest is room for heads and error objects.
const MaxFrame = 8 << 20

//go:embed node.cjs
var node []byte

//go:embed hook.cjs
var hook []byte

//go:embed python.py
var python []byte

// Files are the paths of the programs written by [Write].
type Files struct{ Node, Hook, Python string }

// Write puts the programs into dir, replacing only what differs. hookConfig is
// JSON and becomes part of the hook's text: forked children and worker threads
// of a function load the hook through the inherited command line, where no
// environment variable of ours would still be set. The files are 0600 because
// the configuration names local ports and hosts.
func Write(dir string, hookConfig []byte) (Files, error) {
	f := Files{
		Node:   filepath.Join(dir, "node.cjs"),
		Hook:   filepath.Join(dir, "hook.cjs"),
		Python: filepath.Join(dir, "python.py"),
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return f, err
	}
	text := fmt.Appendf(nil, "'use strict';\nconst config = %s;\n", hookConfig)
	text = append(text, hook...)
	for path, content := range map[string][]byte{f.Node: node, f.Hook: text, f.Python: python} {
		if err := replace(path, content); err != nil {
			return f, err
		}
	}
	return f, nil
}

// replace writes through a temporary file: a kill -9 leaves the old or the new
// text, never half of it.
func replace(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == string(content) {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(content); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
