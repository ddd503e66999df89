package authz

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/iam"
)

// maxAnswer bounds what an authorizer may answer (API Gateway quotas).
const maxAnswer = 8 << 10

// answer is what an authorizer said, checked.
type answer struct {
	principalID string
	policy      *iam.Policy
	context     []event.Property // in the authorizer's order, values as text
	usageKey    string
}

// garbled says what is wrong with an answer. It never quotes values.
type garbled string

func (g garbled) Error() string { return string(g) }

// parseAnswer reads an authorizer's answer (§7.3 of the reference):
//
//	{"principalId": "…", "policyDocument": {…}, "context": {…}, "usageIdentifierKey": "…"}
//
// Members it does not have are ignored, as on AWS; of one that is there twice the last
// counts.
func parseAnswer(payload []byte) (*answer, error) {
	if len(payload) > maxAnswer {
		return nil, garbled(strconv.Itoa(len(payload)) + " bytes; " + strconv.Itoa(maxAnswer) + " are allowed")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(payload, &members); err != nil || members == nil {
		return nil, garbled("no object: want principalId and policyDocument")
	}
	a := &answer{}
	if json.Unmarshal(members["principalId"], &a.principalID) != nil || a.principalID == "" {
		return nil, garbled("without a principalId, which must be text")
	}
	document, ok := members["policyDocument"]
	if !ok {
		return nil, garbled("without a policyDocument")
	}
	var err error
	if a.policy, err = iam.Parse(document); err != nil {
		return nil, garbled("a policyDocument that cannot be used: " + fault.Message(err))
	}
	if raw, ok := members["usageIdentifierKey"]; ok && !isNull(raw) && json.Unmarshal(raw, &a.usageKey) != nil {
		return nil, garbled("a usageIdentifierKey that is not text")
	}
	if raw, ok := members["context"]; ok && !isNull(raw) {
		if a.context, err = properties(raw); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// properties reads the context: text, numbers as they were written, and booleans. A
// property that is null has no value and is left out; a list or an object makes the
// whole answer unusable.
func properties(raw []byte) ([]event.Property, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, garbled("a context that is no object")
	}
	var out []event.Property
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, garbled("a context that is not JSON")
		}
		value, err := d.Token()
		if err != nil {
			return nil, garbled("a context that is not JSON")
		}
		text, set := "", true
		switch v := value.(type) {
		case string:
			text = v
		case json.Number:
			text = v.String()
		case bool:
			text = strconv.FormatBool(v)
		case nil:
			set = false
		default:
			return nil, garbled("a context with a list or an object in it: values must be text, numbers or booleans")
		}
		out = setProperty(out, name, text, set)
	}
	if _, err := d.Token(); err != nil {
		return nil, garbled("a context that is not JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, garbled("a context that goes on after its end")
	}
	return out, nil
}

// setProperty keeps the last of two with one name.
func setProperty(list []event.Property, name, text string, set bool) []event.Property {
	for i := range list {
		if list[i].Name == name {
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	if set {
		list = append(list, event.Property{Name: name, Value: text})
	}
	return list
}
