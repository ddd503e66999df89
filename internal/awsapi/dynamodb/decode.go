package dynamodb

import (
	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/table"
)

// decoder reads the members that requests have in common. A member that is null
// counts as absent, and unknown members are passed over, as AWS does.
type decoder struct{ *attr.Reader }

// request reads the body's object with member and says whether it was one.
func request(body []byte, member func(d decoder, name string)) error {
	d := decoder{attr.NewReader(body)}
	d.Object(func(name string) {
		if !d.Null() {
			member(d, name)
		}
	})
	d.End()
	return d.Err()
}

// members reads a nested object likewise.
func (d decoder) members(member func(name string)) bool {
	return d.Object(func(name string) {
		if !d.Null() {
			member(name)
		}
	})
}

func (d decoder) text() *string {
	s := d.String()
	return &s
}

func (d decoder) number() *int64 {
	n := d.Int()
	return &n
}

func (d decoder) flag() *bool {
	b := d.Bool()
	return &b
}

func (d decoder) texts() []string {
	list := []string{}
	d.Array(func() { list = append(list, d.String()) })
	return list
}

// maxElements is the most that any list of a request may have: keys of a batch, actions
// of a transaction.
const maxElements = 100

// few reads such a list. Of a longer one it keeps one element more, which is enough to
// refuse it, and passes over the rest.
func (d decoder) few(element func()) {
	n := 0
	d.Array(func() {
		if n++; n > maxElements+1 {
			d.Skip()
			return
		}
		element()
	})
}

// names reads ExpressionAttributeNames.
func (d decoder) names() map[string]string {
	m := map[string]string{}
	d.Object(func(name string) { m[name] = d.String() })
	return m
}

// expressions reads a member if it is one of the expression parameters.
func (d decoder) expressions(x *table.Expressions, name string) bool {
	switch name {
	case "ExpressionAttributeNames":
		x.Names = d.names()
	case "ExpressionAttributeValues":
		x.Values = d.ReadItem()
	case "ConditionExpression":
		x.Condition = d.text()
	case "KeyConditionExpression":
		x.KeyCondition = d.text()
	case "FilterExpression":
		x.Filter = d.text()
	case "ProjectionExpression":
		x.Projection = d.text()
	case "UpdateExpression":
		x.Update = d.text()
	default:
		return false
	}
	return true
}

// returning reads a member if it says what a write is to answer.
func (d decoder) returning(r *table.Returning, name string) bool {
	switch name {
	case "ReturnValues":
		r.ReturnValues = d.String()
	case "ReturnValuesOnConditionCheckFailure":
		r.OnFailure = d.String()
	case "ReturnConsumedCapacity":
		r.Capacity = d.String()
	case "ReturnItemCollectionMetrics":
		r.CollectionSizes = d.String()
	default:
		return false
	}
	return true
}

// conditions reads Expected, KeyConditions, QueryFilter or ScanFilter.
func (d decoder) conditions() []table.LegacyCondition {
	list := []table.LegacyCondition{}
	d.members(func(name string) {
		c := table.LegacyCondition{Name: name}
		d.members(func(member string) {
			switch member {
			case "Value":
				c.Value = d.value(&c.Invalid)
			case "Exists":
				c.Exists = d.flag()
			case "ComparisonOperator":
				c.Op = d.String()
			case "AttributeValueList":
				c.Values = []attr.Value{}
				d.Array(func() { c.Values = append(c.Values, *d.value(&c.Invalid)) })
			default:
				d.Skip()
			}
		})
		list = append(list, c)
	})
	return list
}

// value reads one attribute value; a broken rule goes to invalid.
func (d decoder) value(invalid *error) *attr.Value {
	v, err := d.ReadValue()
	if err != nil && *invalid == nil {
		*invalid = err
	}
	return &v
}

// updates reads AttributeUpdates.
func (d decoder) updates() []table.LegacyUpdate {
	list := []table.LegacyUpdate{}
	d.members(func(name string) {
		u := table.LegacyUpdate{Name: name}
		d.members(func(member string) {
			switch member {
			case "Value":
				u.Value = d.value(&u.Invalid)
			case "Action":
				u.Action = d.String()
			default:
				d.Skip()
			}
		})
		list = append(list, u)
	})
	return list
}
