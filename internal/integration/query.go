package integration

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/event"
)

// Answers of Query APIs (SQS, SNS, STS) reach API Gateway's clients as JSON:
// {"SendMessageResponse":{"ResponseMetadata":{…},"SendMessageResult":{…}}}, names in
// alphabetical order, what has no value as null, an error without its outer element.

func isXML(contentType string, body []byte) bool {
	return strings.Contains(contentType, "xml") || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
}

// maxElements bounds nesting of an answer.
const maxElements = 64

// element is one XML element.
type element struct {
	name     string
	text     string
	children []*element
}

func queryJSON(body []byte) ([]byte, error) {
	dec := xml.NewDecoder(bytes.NewReader(body))
	root := &element{}
	open := []*element{root}
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		top := open[len(open)-1]
		switch tok := tok.(type) {
		case xml.StartElement:
			if len(open) > maxElements {
				return nil, errors.New("nested too deep")
			}
			e := &element{name: tok.Name.Local}
			top.children = append(top.children, e)
			open = append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			top.text += string(tok)
		}
	}
	if len(root.children) != 1 {
		return nil, errors.New("no single element")
	}
	if top := root.children[0]; top.name == "ErrorResponse" {
		for _, e := range top.children {
			e.children = slices.DeleteFunc(e.children, func(c *element) bool { return c.name == "Detail" && c.text == "" })
		}
		return top.append(nil), nil
	}
	return root.append(nil), nil
}

// nullable are members that the services leave out of their XML and show as null.
var nullable = map[string][]string{
	"SendMessageResult": {"MD5OfMessageAttributes", "MD5OfMessageSystemAttributes", "SequenceNumber"},
	"PublishResult":     {"SequenceNumber"},
}

// append writes an element's value. Elements of one name are a list, and so are
// those called member, however few.
func (e *element) append(dst []byte) []byte {
	if len(e.children) == 0 {
		if e.text == "" {
			return append(dst, "null"...)
		}
		return event.AppendString(dst, e.text)
	}
	byName := map[string][]*element{}
	for _, c := range e.children {
		byName[c.name] = append(byName[c.name], c)
	}
	if list := byName["member"]; len(list) == len(e.children) {
		return appendList(dst, list)
	}
	for _, name := range nullable[e.name] {
		if byName[name] == nil {
			byName[name] = []*element{{name: name}}
		}
	}
	dst = append(dst, '{')
	for i, name := range slices.Sorted(maps.Keys(byName)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(event.AppendString(dst, name), ':')
		if same := byName[name]; len(same) > 1 {
			dst = appendList(dst, same)
		} else {
			dst = same[0].append(dst)
		}
	}
	return append(dst, '}')
}

func appendList(dst []byte, list []*element) []byte {
	dst = append(dst, '[')
	for i, e := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.append(dst)
	}
	return append(dst, ']')
}
