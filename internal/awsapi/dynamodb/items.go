package dynamodb

import (
	"context"

	"github.com/livegate/livegate/internal/table"
)

func putItem(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.PutInput{}
	err := request(body, func(d decoder, name string) {
		switch {
		case name == "TableName":
			in.Table = d.text()
		case name == "Item":
			in.Item = d.ReadItem()
		case name == "Expected":
			in.Legacy.List = d.conditions()
		case name == "ConditionalOperator":
			in.Legacy.Operator = d.String()
		case d.expressions(&in.Expressions, name), d.returning(&in.Returning, name):
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	res, err := e.PutItem(ctx, in)
	return appendWrite(out, res, err)
}

func deleteItem(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.DeleteInput{}
	err := request(body, func(d decoder, name string) {
		switch {
		case name == "TableName":
			in.Table = d.text()
		case name == "Key":
			in.Key = d.ReadItem()
		case name == "Expected":
			in.Legacy.List = d.conditions()
		case name == "ConditionalOperator":
			in.Legacy.Operator = d.String()
		case d.expressions(&in.Expressions, name), d.returning(&in.Returning, name):
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	res, err := e.DeleteItem(ctx, in)
	return appendWrite(out, res, err)
}

func updateItem(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.UpdateInput{}
	err := request(body, func(d decoder, name string) {
		switch {
		case name == "TableName":
			in.Table = d.text()
		case name == "Key":
			in.Key = d.ReadItem()
		case name == "Expected":
			in.Legacy.List = d.conditions()
		case name == "AttributeUpdates":
			in.Updates.List = d.updates()
		case name == "ConditionalOperator":
			in.Legacy.Operator = d.String()
		case d.expressions(&in.Expressions, name), d.returning(&in.Returning, name):
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	res, err := e.UpdateItem(ctx, in)
	return appendWrite(out, res, err)
}

func appendWrite(out []byte, res *table.WriteOutput, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	o := newObject(out)
	o.item("Attributes", res.Attributes)
	o.capacity(res.Capacity)
	o.collection(res.Collection)
	return o.end(), nil
}

func getItem(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.GetInput{}
	err := request(body, func(d decoder, name string) {
		switch {
		case name == "TableName":
			in.Table = d.text()
		case name == "Key":
			in.Key = d.ReadItem()
		case name == "AttributesToGet":
			in.AttributesToGet = d.texts()
		case name == "ConsistentRead":
			in.Consistent = d.Bool()
		case name == "ReturnConsumedCapacity":
			in.Capacity = d.String()
		case d.expressions(&in.Expressions, name):
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	res, err := e.GetItem(ctx, in)
	if err != nil {
		return nil, err
	}
	o := newObject(out)
	if res.Item != nil {
		o.raw("Item", res.Item)
	}
	o.capacity(res.Capacity)
	return o.end(), nil
}

func query(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.QueryInput{}
	err := request(body, func(d decoder, name string) {
		switch {
		case name == "TableName":
			in.Table = d.text()
		case name == "IndexName":
			in.Index = d.text()
		case name == "Select":
			in.Select = d.String()
		case name == "Limit":
			in.Limit = d.number()
		case name == "ExclusiveStartKey":
			in.StartKey = d.ReadItem()
		case name == "ScanIndexForward":
			in.Backward = !d.Bool()
		case name == "ConsistentRead":
			in.Consistent = d.Bool()
		case name == "ReturnConsumedCapacity":
			in.Capacity = d.String()
		case name == "AttributesToGet":
			in.AttributesToGet = d.texts()
		case name == "KeyConditions":
			in.KeyConditions.List = d.conditions()
		case name == "QueryFilter":
			in.QueryFilter.List = d.conditions()
		case name == "ConditionalOperator":
			in.QueryFilter.Operator = d.String()
		case d.expressions(&in.Expressions, name):
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	in.Into = pageStart(out)
	page, err := e.Query(ctx, in)
	return appendPage(out, page, err)
}

func scan(ctx context.Context, e *table.Engine, body, out []byte) ([]byte, error) {
	in := &table.ScanInput{}
	err := request(body, func(d decoder, name string) {
		switch {
		case name == "TableName":
			in.Table = d.text()
		case name == "IndexName":
			in.Index = d.text()
		case name == "Select":
			in.Select = d.String()
		case name == "Limit":
			in.Limit = d.number()
		case name == "ExclusiveStartKey":
			in.StartKey = d.ReadItem()
		case name == "Segment":
			in.Segment = d.number()
		case name == "TotalSegments":
			in.TotalSegments = d.number()
		case name == "ConsistentRead":
			in.Consistent = d.Bool()
		case name == "ReturnConsumedCapacity":
			in.Capacity = d.String()
		case name == "AttributesToGet":
			in.AttributesToGet = d.texts()
		case name == "ScanFilter":
			in.ScanFilter.List = d.conditions()
		case name == "ConditionalOperator":
			in.ScanFilter.Operator = d.String()
		case d.expressions(&in.Expressions, name):
		default:
			d.Skip()
		}
	})
	if err != nil {
		return nil, err
	}
	in.Into = pageStart(out)
	page, err := e.Scan(ctx, in)
	return appendPage(out, page, err)
}

// pageStart is a page's answer up to its items, which the engine appends.
func pageStart(out []byte) []byte { return append(out, `{"Items":`...) }

func appendPage(out []byte, page *table.Page, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	o := newObject(out)
	if page.Items != nil {
		o = &object{buf: page.Items}
	}
	o.number("Count", float64(page.Count))
	o.number("ScannedCount", float64(page.Scanned))
	o.item("LastEvaluatedKey", page.LastKey)
	o.capacity(page.Capacity)
	return o.end(), nil
}
