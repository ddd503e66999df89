package table

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/livegate/livegate/internal/attr"
)

// constraints collects what AWS's front layer finds before DynamoDB itself looks
// at a request: it reports all of them in one message.
type constraints struct{ found []string }

func (c *constraints) add(value, at, rule string) {
	c.found = append(c.found, fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: %s", value, at, rule))
}

func (c *constraints) err() error {
	switch len(c.found) {
	case 0:
		return nil
	case 1:
		return invalid("1 validation error detected: %s", c.found[0])
	}
	return invalid("%d validation errors detected: %s", len(c.found), strings.Join(c.found, "; "))
}

func quoted(s string) string { return "'" + s + "'" }

// enum checks an optional enumeration.
func (c *constraints) enum(value, at string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		c.add(quoted(value), at, "Member must satisfy enum value set: ["+strings.Join(allowed, ", ")+"]")
	}
}

func (c *constraints) present(is bool, at string) {
	if !is {
		c.add("null", at, "Member must not be null")
	}
}

func (c *constraints) atLeast(value *int64, at string, low int64) {
	if value != nil && *value < low {
		c.add(quoted(strconv.FormatInt(*value, 10)), at, "Member must have value greater than or equal to "+strconv.FormatInt(low, 10))
	}
}

// Lengths of names (Developer Guide, "Naming rules"). Requests for items also
// take an ARN where a name is expected, which is why they allow more and less.
const (
	minTableName = 3
	maxTableName = 255
	maxTableARN  = 1024
)

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
}

func isName(s string) bool {
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return true
}

const namePattern = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"

// indexName checks an optional index name.
func (c *constraints) indexName(name *string, at string) {
	if name == nil {
		return
	}
	if !isName(*name) {
		c.add(quoted(*name), at, namePattern)
	}
	if len(*name) < minTableName {
		c.add(quoted(*name), at, "Member must have length greater than or equal to 3")
	}
	if len(*name) > maxTableName {
		c.add(quoted(*name), at, "Member must have length less than or equal to 255")
	}
}

// tableName checks the name or ARN in a request about items, and returns the
// name. Errors in it stop everything else.
func tableName(name *string) (string, error) {
	var c constraints
	if name == nil {
		c.present(false, "tableName")
		return "", c.err()
	}
	short := fromARN(*name)
	switch {
	case *name == "":
		c.add("''", "tableName", "Member must have length greater than or equal to 1")
	case len(*name) > maxTableARN:
		c.add(quoted(*name), "tableName", "Member must have length less than or equal to 1024")
	case !isName(short):
		c.add(quoted(*name), "tableName", namePattern)
	case len(short) > maxTableName:
		c.add(quoted(short), "tableName", "Member must have length less than or equal to 255")
	}
	return short, c.err()
}

// fromARN is the table's name in arn:aws:dynamodb:region:account:table/name.
func fromARN(s string) string {
	if strings.HasPrefix(s, "arn:") {
		if _, name, ok := strings.Cut(s, ":table/"); ok {
			name, _, _ = strings.Cut(name, "/")
			return name
		}
	}
	return s
}

// newTableName checks the name of a table in the control plane.
func newTableName(name *string) (string, error) {
	if name == nil {
		return "", invalid("The parameter 'TableName' is required but was not present in the request")
	}
	short := fromARN(*name)
	var c constraints
	switch {
	case *name == "":
		c.add("''", "tableName", "Member must have length greater than or equal to 1")
	case !isName(short):
		c.add(quoted(short), "tableName", namePattern)
	case len(short) < minTableName:
		c.add(quoted(short), "tableName", "Member must have length greater than or equal to 3")
	case len(short) > maxTableName:
		c.add(quoted(short), "tableName", "Member must have length less than or equal to 255")
	}
	return short, c.err()
}

// Keys.

const (
	maxHashKey  = 2048 // bytes
	maxRangeKey = 1024
	// MaxItem is the largest item in bytes, as DynamoDB counts them.
	MaxItem = 400 << 10
)

// checkKey checks the Key of a request: exactly the key attributes.
func (t *state) checkKey(key attr.Map) error {
	want := t.key.names()
	if len(key) != len(want) {
		return invalid("The provided key element does not match the schema")
	}
	for _, name := range want {
		v, ok := key.Get(name)
		if !ok || v.Kind != t.key.kind(name) {
			return invalid("The provided key element does not match the schema")
		}
	}
	return t.key.checkValues(key)
}

// checkItem checks a whole item before it is stored.
func (t *state) checkItem(item attr.Map) error {
	for _, name := range t.key.names() {
		v, ok := item.Get(name)
		switch {
		case !ok:
			return invalid("One or more parameter values were invalid: Missing the key %s in the item", name)
		case v.Kind != t.key.kind(name):
			return invalid("One or more parameter values were invalid: Type mismatch for key %s expected: %s actual: %s", name, t.key.kind(name), v.Kind)
		}
	}
	if err := t.key.checkValues(item); err != nil {
		return err
	}
	return t.checkIndexKeys(item, nil)
}

// checkIndexKeys refuses an item whose index key attributes have another type or
// are empty: it could not be indexed. changed is given for an update, which only
// answers for the attributes that it changes.
func (t *state) checkIndexKeys(item attr.Map, changed func(name string) bool) error {
	updated := changed != nil
	for _, i := range t.indexes {
		for _, name := range i.key.names() {
			v, ok := item.Get(name)
			switch {
			case !ok || updated && !changed(name):
			case v.Kind != i.key.kind(name) && updated:
				return invalid("The update expression attempted to update the secondary index key to unsupported type")
			case v.Kind != attr.N && v.Str == "" && updated:
				return invalid("One or more parameter values are not valid. The update expression attempted to update a secondary index key to a value that is not supported. The AttributeValue for a key attribute cannot contain an empty %s value.", emptyWord(v.Kind))
			case v.Kind != i.key.kind(name):
				return invalid("One or more parameter values were invalid: Type mismatch for Index Key %s Expected: %s Actual: %s IndexName: %s", name, i.key.kind(name), v.Kind, i.name)
			case v.Kind != attr.N && v.Str == "":
				return invalid("One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty %s value. IndexName: %s, IndexKey: %s", emptyWord(v.Kind), i.name, name)
			default:
				if err := i.key.checkLength(name, v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func emptyWord(k attr.Kind) string {
	if k == attr.B {
		return "binary"
	}
	return "string"
}

// checkValues checks the key values' lengths.
func (k keySpec) checkValues(item attr.Map) error {
	for _, name := range k.names() {
		v, _ := item.Get(name)
		if v.Kind != attr.N && v.Str == "" {
			return invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty %s value. Key: %s", emptyWord(v.Kind), name)
		}
		if err := k.checkLength(name, v); err != nil {
			return err
		}
	}
	return nil
}

func (k keySpec) checkLength(name string, v attr.Value) error {
	switch {
	case k.fits(name, v):
		return nil
	case name == k.hash:
		return invalid("One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes")
	}
	return invalid("One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
}

// fits reports whether a key attribute's value is short enough.
func (k keySpec) fits(name string, v attr.Value) bool {
	if name == k.hash {
		return len(v.Str) <= maxHashKey
	}
	return len(v.Str) <= maxRangeKey
}
