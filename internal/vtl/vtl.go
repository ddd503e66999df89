// Package vtl is the Velocity Template Language as Amazon API Gateway and AWS
// AppSync run it: Apache Velocity 1.7 with the values of a JSON world and the
// Java methods that mapping templates call on them.
//
// A template is compiled once, is immutable, and may be executed by any number
// of goroutines. Execution does no I/O, reads no clock, starts no goroutine and
// always ends: [Limits] bound its steps, output, nesting, loops and the data it
// builds. Everything a template can reach is in the variables that the caller
// passes; $input, $util and $context are [Object]s of the caller's making.
//
// What it promises, where Velocity has a say:
//   - an undefined or null reference prints its own source, a quiet one nothing:
//     "$a $!a" is "$a ";
//   - a directive eats the blanks and the line end that follow its closing
//     parenthesis or its #end, so "#if(true)\nA\n#end\nB" is "A\nB". #set also eats
//     the blanks before it, but only where they do not continue literal text:
//     "$a  #set($b=1)c" loses them and "text  #set($b=1)c" keeps them;
//   - only null and false are false for a reference, while a literal that is not
//     true ("a", 1, [1]) is always false: #if("a") never holds;
//   - #set with a null value leaves the variable as it was. In a loop that means
//     the previous round's value (AppSync does the same: aws-amplify/amplify-cli
//     issue 5018), which is why templates write $util.defaultIfNull;
//   - "-" belongs to a name: $a-1 is the variable "a-1";
//   - \$a prints "$a" only if $a is defined, else the backslash stays;
//   - macro arguments are passed by name, as in Velocity;
//   - integers are exact: what leaves 64 bits becomes a [Number], as Java's
//     arithmetic of Velocity turns to BigInteger. Nothing wraps except the one
//     quotient MinInt64 / -1.
//
// Where it differs, on purpose: .class and every other way to reflection is an
// ordinary (absent) property; map keys are always text; #parse and #include are
// refused when compiling; java.util.regex patterns run on RE2, and constructs
// RE2 lacks (look-around, back references, possessive quantifiers) are an error
// that names them; List.join exists here and not in Java; keys, entries and
// values of a map are copies, not live views. Velocity's scanner also refuses or
// mangles some plain text, such as a "{" or "[" glued to $a.b; where that helps
// nobody, it is read as the text it is.
//
// Test templates with golden pairs: see testdata.
package vtl

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/livegate/livegate/internal/fault"
)

// Dialect says whose Velocity a template is written for.
type Dialect uint8

const (
	Gateway Dialect = iota // API Gateway: Velocity 1.7 as it is
	AppSync                // adds #return and #return(value)
)

// Template is a compiled template: immutable and safe for concurrent use.
type Template struct {
	src    *source
	body   []node
	macros map[string]*macro
	d      Dialect
}

// Compile compiles source for API Gateway. name appears in errors. The error is
// a *[SyntaxError].
func Compile(name, source string) (*Template, error) { return Gateway.Compile(name, source) }

// Compile compiles source for the dialect. The error is a *[SyntaxError].
func (d Dialect) Compile(name, text string) (*Template, error) {
	p := &parser{src: &source{name: name, text: text}, d: d, macros: map[string]*macro{}}
	body, err := p.template()
	if err != nil {
		return nil, err
	}
	return &Template{src: p.src, body: body, macros: p.macros, d: d}, nil
}

// Limits bound one execution. Zero members mean the defaults in brackets; a
// breach is a *[RunError] of kind [fault.TooLarge].
type Limits struct {
	Steps  int // nodes evaluated, plus work inside methods in units of 64 bytes [1e6]
	Output int // bytes of output [10 MiB]
	Depth  int // nested macros, #define blocks and #evaluate [64]
	Data   int // bytes of all values built during the execution [64 MiB]
	Loop   int // rounds of one #foreach; negative: no limit of its own [1000]
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.Steps, 1_000_000)
	set(&l.Output, 10<<20)
	set(&l.Depth, 64)
	set(&l.Data, 64<<20)
	set(&l.Loop, 1000)
	return l
}

// Result is what an execution left behind.
type Result struct {
	Output   []byte // dst and what the template printed, up to #return or #stop
	Returned bool   // the template ended in #return
	Value    any    // the value of #return(value); nil for a bare #return
}

// Execute appends what the template prints to dst. The template sees vars, and
// values reachable from them change if it calls put, add and the like; the map
// itself is not written to. On error (a *[RunError]) the result is dst as it was.
func (t *Template) Execute(dst []byte, vars map[string]any, l Limits) ([]byte, error) {
	r, err := t.Run(dst, vars, l)
	return r.Output, err
}

// Run is Execute that also tells of #return.
func (t *Template) Run(dst []byte, vars map[string]any, l Limits) (Result, error) {
	x := exec{out: dst, base: len(dst), vars: vars, limits: l.withDefaults(), at: pos{src: t.src}}
	x.active = append(x.active0[:0], t)
	err := x.block(t.body)
	switch {
	case err == nil, errors.Is(err, errStop), errors.Is(err, errBreak):
		return Result{Output: x.out}, nil
	case errors.Is(err, errReturn):
		return Result{Output: x.out, Returned: true, Value: x.returned}, nil
	}
	return Result{Output: dst}, err
}

// SyntaxError says why a template does not compile. Line and Col count from 1,
// Col in characters.
type SyntaxError struct {
	Name      string
	Line, Col int
	Msg       string

	kind fault.Kind
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.Name, e.Line, e.Col, e.Msg)
}

// Unwrap gives the error its kind: [fault.BadRequest], or [fault.Unsupported]
// for what Velocity has and mapping templates do not.
func (e *SyntaxError) Unwrap() error { return fault.New(e.kind, "%s", e.Error()) }

// RunError says where a template failed and why. Err is the cause: what an
// [Object] returned, or a *[fault.Error] of kind TooLarge (a limit) or Upstream
// (the template did what Java answers with an exception).
type RunError struct {
	Name      string
	Line, Col int
	Err       error
}

func (e *RunError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %v", e.Name, e.Line, e.Col, e.Err)
}

func (e *RunError) Unwrap() error { return e.Err }

// source is a text to compile: a template, or a string literal in one.
type source struct {
	name string
	text string
	at   pos // a literal's place in the text around it
}

// pos is a place in a source.
type pos struct {
	src *source
	off int
}

// lineCol counts lines and characters up to the place. Only errors need them, so
// nothing counts them before.
func (p pos) lineCol() (line, col int) {
	line, col = 1, 1
	if p.src.at.src != nil {
		line, col = p.src.at.lineCol()
	}
	before := p.src.text[:min(p.off, len(p.src.text))]
	n := strings.Count(before, "\n")
	if n == 0 {
		return line, col + utf8.RuneCountInString(before)
	}
	return line + n, 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}
