package dynamodb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/table"
)

func batchWriteItem(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.BatchWriteInput{}
	err := request(body, func(d decoder, name string) {
		switch name {
		case "RequestItems":
			in.Tables = d.tableWrites()
		case "ReturnConsumedCapacity":
			in.Capacity = d.String()
		case "ReturnItemCollectionMetrics":
			in.CollectionSizes = d.String()
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	res, err := e.BatchWriteItem(ctx, in)
	if err != nil {
		return nil, err
	}
	o := newObject(out)
	o.raw("UnprocessedItems", []byte("{}"))
	o.collections(res.Collections)
	o.capacities(res.Capacity)
	return o.end(), nil
}

func (d decoder) tableWrites() []table.TableWrites {
	list := []table.TableWrites{}
	d.members(func(name string) {
		t := table.TableWrites{Table: name}
		d.few(func() {
			var w table.BatchWrite
			d.members(func(member string) {
				switch member {
				case "PutRequest":
					w.Put = d.inside("Item")
				case "DeleteRequest":
					w.Delete = d.inside("Key")
				default:
					d.Skip()
				}
			})
			t.Writes = append(t.Writes, w)
		})
		list = append(list, t)
	})
	return list
}

// inside reads an object of which only one member, a document, matters.
func (d decoder) inside(member string) *attr.Document {
	doc := attr.Document{}
	d.members(func(name string) {
		if name == member {
			doc = d.ReadItem()
		} else {
			d.Skip()
		}
	})
	return &doc
}

func batchGetItem(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.BatchGetInput{}
	err := request(body, func(d decoder, name string) {
		switch name {
		case "RequestItems":
			in.Tables = d.tableKeys()
		case "ReturnConsumedCapacity":
			in.Capacity = d.String()
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	res, err := e.BatchGetItem(ctx, in)
	if err != nil {
		return nil, err
	}
	o := newObject(out)
	o.key("Responses")
	responses := newObject(o.buf)
	for _, t := range res.Tables {
		responses.key(t.Table)
		responses.buf = append(responses.buf, '[')
		for i, item := range t.Items {
			if i > 0 {
				responses.buf = append(responses.buf, ',')
			}
			responses.buf = append(responses.buf, item...)
		}
		responses.buf = append(responses.buf, ']')
	}
	o.buf = responses.end()
	o.key("UnprocessedKeys")
	rest := newObject(o.buf)
	for _, t := range res.Tables {
		if t.Remaining != nil {
			rest.key(t.Table)
			rest.buf = appendRemaining(rest.buf, &t)
		}
	}
	o.buf = rest.end()
	o.capacities(res.Capacity)
	return o.end(), nil
}

// appendRemaining repeats a table's part of the request with the keys that were
// not read.
func appendRemaining(dst []byte, t *table.TableItems) []byte {
	o := newObject(dst)
	o.key("Keys")
	o.buf = append(o.buf, '[')
	for i, k := range t.Remaining {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = attr.AppendItem(o.buf, k)
	}
	o.buf = append(o.buf, ']')
	r := attr.NewReader(t.Request.Raw)
	r.Object(func(name string) {
		if name == "Keys" {
			r.Skip()
		} else {
			o.raw(name, r.Raw())
		}
	})
	return o.end()
}

func (d decoder) tableKeys() []table.TableKeys {
	list := []table.TableKeys{}
	d.members(func(name string) {
		t := table.TableKeys{Table: name}
		raw := d.Raw()
		t.Raw = raw
		inner := decoder{attr.NewReader(raw)}
		inner.members(func(member string) {
			switch {
			case member == "Keys":
				inner.few(func() { t.Keys = append(t.Keys, inner.ReadItem()) })
			case member == "AttributesToGet":
				t.AttributesToGet = inner.texts()
			case member == "ConsistentRead":
				t.Consistent = inner.Bool()
			case inner.expressions(&t.Expressions, member):
			default:
				inner.Skip()
			}
		})
		if err := inner.Err(); err != nil {
			d.Fail(err)
		}
		list = append(list, t)
	})
	return list
}

func transactWriteItems(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.TransactWriteInput{}
	var actions []byte
	err := request(body, func(d decoder, name string) {
		switch name {
		case "TransactItems":
			actions = d.Raw()
			in.Actions = decodeActions(d, actions)
		case "ClientRequestToken":
			in.Token = d.text()
		case "ReturnConsumedCapacity":
			in.Capacity = d.String()
		case "ReturnItemCollectionMetrics":
			in.CollectionSizes = d.String()
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	if in.Token != nil {
		in.Fingerprint = fingerprint(actions)
	}
	res, err := e.TransactWriteItems(ctx, in)
	if err != nil {
		return nil, err
	}
	o := newObject(out)
	o.capacities(res.Capacity)
	o.collections(res.Collections)
	return o.end(), nil
}

// fingerprint tells requests that mean the same from others. Members of an object have
// no order, and clients that keep them in hash maps write them differently each time.
func fingerprint(raw []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) == nil {
		if sorted, err := json.Marshal(v); err == nil {
			raw = sorted
		}
	}
	sum := sha256.Sum256(raw)
	return sum[:]
}

func decodeActions(outer decoder, raw []byte) []table.TransactAction {
	d := decoder{attr.NewReader(raw)}
	var list []table.TransactAction
	d.few(func() {
		var a table.TransactAction
		kinds := 0
		d.members(func(kind string) {
			switch kind {
			case "Put", "Delete", "Update", "ConditionCheck":
				kinds++
				a.Kind = kind
				d.action(&a)
			default:
				d.Skip()
			}
		})
		if kinds != 1 {
			a.Kind = ""
		}
		list = append(list, a)
	})
	if err := d.Err(); err != nil {
		outer.Fail(err)
	}
	return list
}

func (d decoder) action(a *table.TransactAction) {
	d.members(func(name string) {
		switch {
		case name == "TableName":
			a.Table = d.text()
		case name == "Item":
			a.Item = d.ReadItem()
		case name == "Key":
			a.Key = d.ReadItem()
		case name == "ReturnValuesOnConditionCheckFailure":
			a.OnFailure = d.String()
		case d.expressions(&a.Expressions, name):
		default:
			d.Skip()
		}
	})
}

func transactGetItems(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.TransactGetInput{}
	err := request(body, func(d decoder, name string) {
		switch name {
		case "TransactItems":
			d.few(func() { in.Gets = append(in.Gets, d.transactGet()) })
		case "ReturnConsumedCapacity":
			in.Capacity = d.String()
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	res, err := e.TransactGetItems(ctx, in)
	if err != nil {
		return nil, err
	}
	o := newObject(out)
	o.key("Responses")
	o.buf = append(o.buf, '[')
	for i, item := range res.Items {
		if i > 0 {
			o.buf = append(o.buf, ',')
		}
		one := newObject(o.buf)
		if item != nil {
			one.raw("Item", item)
		}
		o.buf = one.end()
	}
	o.buf = append(o.buf, ']')
	o.capacities(res.Capacity)
	return o.end(), nil
}

func (d decoder) transactGet() table.TransactGet {
	var g table.TransactGet
	d.members(func(kind string) {
		if kind != "Get" {
			d.Skip()
			return
		}
		g.Present = true
		d.members(func(name string) {
			switch {
			case name == "TableName":
				g.Table = d.text()
			case name == "Key":
				g.Key = d.ReadItem()
			case d.expressions(&g.Expressions, name):
			default:
				d.Skip()
			}
		})
	})
	return g
}
