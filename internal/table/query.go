package table

import (
	"context"
	"slices"
	"strconv"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/dynexpr"
)

// QueryInput is the Query request.
type QueryInput struct {
	Table *string
	Index *string
	Expressions
	Select          string
	Limit           *int64
	StartKey        attr.Document // ExclusiveStartKey
	Backward        bool          // ScanIndexForward is false
	Consistent      bool
	Capacity        string
	AttributesToGet []string         // legacy
	KeyConditions   LegacyConditions // legacy
	QueryFilter     LegacyConditions // legacy; Operator is ConditionalOperator
	Into            []byte           // what Page.Items begins with, and has room for more
}

// ScanInput is the Scan request.
type ScanInput struct {
	Table *string
	Index *string
	Expressions
	Select          string
	Limit           *int64
	StartKey        attr.Document // ExclusiveStartKey
	Segment         *int64
	TotalSegments   *int64
	Consistent      bool
	Capacity        string
	AttributesToGet []string         // legacy
	ScanFilter      LegacyConditions // legacy
	Into            []byte           // as in QueryInput
}

// common is what Query and Scan have in common.
type common struct {
	index      *string
	selection  string
	limit      *int64
	consistent bool
	capacity   string
	startKey   attr.Document
	toGet      []string
	projected  bool // a ProjectionExpression is present
	into       []byte
}

func (c *common) check() error {
	var k constraints
	k.indexName(c.index, "indexName")
	k.enum(c.selection, "select", "SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES")
	k.enum(c.capacity, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
	return k.err()
}

// checkSelect checks Select against the projection and index.
func (c *common) checkSelect() error {
	specific := c.projected || c.toGet != nil
	name := "ProjectionExpression"
	if c.toGet != nil {
		name = "AttributesToGet"
	}
	switch {
	case c.selection == "" || c.selection == "SPECIFIC_ATTRIBUTES" && specific:
		return nil
	case c.selection == "SPECIFIC_ATTRIBUTES":
		return invalid("Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
	case specific:
		return invalid("Cannot specify the %s when choosing to get %s", name, c.selection)
	case c.selection == "ALL_PROJECTED_ATTRIBUTES" && c.index == nil:
		return invalid("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
	}
	return nil
}

// bind makes a reader for the table or index.
func (c *common) bind(t *state) (*reader, error) {
	r := &reader{t: t, consistent: c.consistent, capacity: c.capacity, countOnly: c.selection == "COUNT", into: c.into}
	if c.limit != nil {
		r.limit = int(min(*c.limit, 1<<30))
	}
	if c.index == nil {
		return r, nil
	}
	if r.index = t.index(*c.index); r.index == nil {
		return nil, invalid("The table does not have the specified index: %s", *c.index)
	}
	if r.index.global && c.consistent {
		return nil, invalid("Consistent reads are not supported on global secondary indexes")
	}
	if r.index.projection != nil && c.selection == "ALL_ATTRIBUTES" {
		if r.index.global {
			return nil, invalid("One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global secondary index %s because its projection type is not ALL", r.index.name)
		}
		r.whole = true
	}
	return r, nil
}

// project sets the projection of the result. Through a local index, attributes
// it does not show are fetched from the table; through a global one they cannot be.
func (r *reader) project(p *dynexpr.Projection) error {
	r.projection = p
	if p == nil || r.index == nil || r.index.projection == nil {
		return nil
	}
	for _, name := range p.Tops() {
		if slices.Contains(r.index.attributes, name) {
			continue
		}
		if r.index.global {
			return invalid("One or more parameter values were invalid: Global secondary index %s does not project [%s]", r.index.name, name)
		}
		r.whole = true
	}
	return nil
}

// Query reads the items of one partition in the order of the sort key.
func (e *Engine) Query(_ context.Context, in *QueryInput) (*Page, error) {
	name, err := tableName(in.Table)
	if err != nil {
		return nil, err
	}
	c := common{in.Index, in.Select, in.Limit, in.Consistent, in.Capacity, in.StartKey, in.AttributesToGet, in.Projection != nil, in.Into}
	if err := c.check(); err != nil {
		return nil, err
	}
	if in.Limit != nil && *in.Limit < 1 {
		return nil, invalid("1 validation error detected: Value at 'Limit' failed to satisfy constraint: Member must have value greater than or equal to 1")
	}
	legacy := append(given("AttributesToGet", in.AttributesToGet != nil, "KeyConditions", in.KeyConditions.List != nil), in.QueryFilter.given("QueryFilter")...)
	if err := in.checkMix(legacy); err != nil {
		return nil, err
	}
	p, err := in.parseRead("FilterExpression and KeyConditionExpression are null", in.AttributesToGet, &in.QueryFilter)
	if err != nil {
		return nil, err
	}
	if in.KeyConditions.List != nil {
		if _, err := in.KeyConditions.compile(false); err != nil {
			return nil, err
		}
	} else if p.terms == nil {
		return nil, invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	if err := c.checkSelect(); err != nil {
		return nil, err
	}
	t := e.lookup(name)
	if t == nil {
		return nil, notFound("Requested resource not found")
	}
	r, err := c.bind(t)
	if err != nil {
		return nil, err
	}
	if err := r.query(in, p); err != nil {
		return nil, err
	}
	return r.run(e.store)
}

// query turns the key condition into a range and sets what else is asked.
func (r *reader) query(in *QueryInput, p *parsed) error {
	k := r.keys()
	kc, err := in.keyCondition(k, p)
	if err != nil {
		return err
	}
	if err := r.checkFilter(p.filterTops); err != nil {
		return err
	}
	r.filter = p.filter
	if err := r.project(p.projection); err != nil {
		return err
	}
	r.descending = in.Backward
	if err := r.keyRange(k, kc); err != nil {
		return err
	}
	if in.StartKey.Map == nil {
		return nil
	}
	if err := r.checkStartKey(in.StartKey); err != nil {
		return err
	}
	if at, _ := k.encode(nil, in.StartKey.Map); !r.within(at) {
		if v, _ := in.StartKey.Map.Get(k.hash); !attr.Equal(v, kc.Hash) {
			return invalid("The provided starting key is outside query boundaries based on provided conditions")
		}
		return invalid("The provided starting key does not match the range key predicate")
	}
	r.startAfter(in.StartKey.Map)
	return nil
}

func (in *QueryInput) keyCondition(k keySpec, p *parsed) (*dynexpr.KeyCondition, error) {
	var kc *dynexpr.KeyCondition
	var err error
	if p.terms != nil {
		kc, err = p.terms.Match(dynexpr.Key{Hash: k.hash, Range: k.rng})
	} else {
		kc, err = in.KeyConditions.keyCondition(k)
	}
	if err != nil {
		return nil, err
	}
	return kc, k.checkCondition(kc)
}

// checkCondition checks the types of a key condition's values.
func (k keySpec) checkCondition(kc *dynexpr.KeyCondition) error {
	mismatch := kc.Hash.Kind != k.hashKind
	for _, v := range kc.Range {
		mismatch = mismatch || v.Kind != k.rngKind
	}
	if mismatch {
		return invalid("One or more parameter values were invalid: Condition parameter type does not match schema type")
	}
	for i, v := range append([]attr.Value{kc.Hash}, kc.Range...) {
		if v.Kind != attr.N && v.Str == "" && (i == 0 || kc.Op != "begins_with") {
			name := k.hash
			if i > 0 {
				name = k.rng
			}
			return invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty %s value. Key: %s", emptyWord(v.Kind), name)
		}
	}
	return nil
}

// checkFilter refuses filters on key attributes.
func (r *reader) checkFilter(tops []string) error {
	for _, name := range r.keys().names() {
		if slices.Contains(tops, name) {
			return invalid("Filter Expression can only contain non-primary key attributes: Primary key attribute: %s", name)
		}
	}
	return nil
}

// keyRange is the range of keys that a condition selects.
func (r *reader) keyRange(k keySpec, kc *dynexpr.KeyCondition) error {
	partition := appendPartition(nil, kc.Hash)
	at := func(i int) []byte { return attr.AppendKey(slices.Clip(partition), kc.Range[i]) }
	r.from, r.to = partition, successor(partition)
	switch kc.Op {
	case "=":
		r.from = at(0)
		r.to = successor(r.from)
	case "<":
		r.to = at(0)
	case "<=":
		r.to = successor(at(0))
	case ">":
		r.from = successor(at(0))
	case ">=":
		r.from = at(0)
	case "BETWEEN":
		if order, _ := attr.Compare(kc.Range[0], kc.Range[1]); order > 0 {
			return invalid("The BETWEEN condition was provided a range where the lower bound is greater than the upper bound")
		}
		r.from, r.to = at(0), successor(at(1))
	case "begins_with":
		if k.rngKind == attr.N {
			return invalid("Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N")
		}
		r.from = attr.AppendKeyPrefix(slices.Clip(partition), kc.Range[0].Str)
		r.to = successor(r.from)
	}
	return nil
}

// parseRead parses the expressions of a Query or Scan, or what they replaced.
func (x *Expressions) parseRead(takesValues string, toGet []string, filter *LegacyConditions) (*parsed, error) {
	p, err := x.parse(takesValues)
	if err != nil {
		return nil, err
	}
	if toGet != nil {
		if p.projection, err = attributesToGet(toGet); err != nil {
			return nil, err
		}
	}
	if filter.List != nil {
		m, err := filter.compile(false)
		if err != nil {
			return nil, err
		}
		p.filter = m
		for _, c := range m.list {
			p.filterTops = append(p.filterTops, c.Name)
		}
	}
	return p, nil
}

// Scan reads a whole table or index, or one segment of it.
func (e *Engine) Scan(_ context.Context, in *ScanInput) (*Page, error) {
	name, err := tableName(in.Table)
	if err != nil {
		return nil, err
	}
	c := common{in.Index, in.Select, in.Limit, in.Consistent, in.Capacity, in.StartKey, in.AttributesToGet, in.Projection != nil, in.Into}
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := in.checkNumbers(); err != nil {
		return nil, err
	}
	legacy := append(given("AttributesToGet", in.AttributesToGet != nil), in.ScanFilter.given("ScanFilter")...)
	if err := in.checkMix(legacy); err != nil {
		return nil, err
	}
	p, err := in.parseRead("FilterExpression is null", in.AttributesToGet, &in.ScanFilter)
	if err != nil {
		return nil, err
	}
	if err := c.checkSelect(); err != nil {
		return nil, err
	}
	t := e.lookup(name)
	if t == nil {
		return nil, notFound("Requested resource not found")
	}
	r, err := c.bind(t)
	if err != nil {
		return nil, err
	}
	r.filter = p.filter
	if err := r.project(p.projection); err != nil {
		return nil, err
	}
	if in.TotalSegments != nil {
		r.segment(*in.Segment, *in.TotalSegments)
	}
	if in.StartKey.Map != nil {
		if err := r.checkStartKey(in.StartKey); err != nil {
			return nil, err
		}
		if at, _ := r.keys().encode(nil, in.StartKey.Map); !r.within(at) {
			return nil, invalid("The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. TotalSegments: %d Segment: %d", *in.TotalSegments, *in.Segment)
		}
		r.startAfter(in.StartKey.Map)
	}
	return r.run(e.store)
}

const maxSegments = 1_000_000

func (in *ScanInput) checkNumbers() error {
	var k constraints
	k.atLeast(in.Limit, "limit", 1)
	k.atLeast(in.TotalSegments, "totalSegments", 1)
	if in.TotalSegments != nil && *in.TotalSegments > maxSegments {
		k.add(quoted(strconv.FormatInt(*in.TotalSegments, 10)), "totalSegments", "Member must have value less than or equal to 1000000")
	}
	k.atLeast(in.Segment, "segment", 0)
	if err := k.err(); err != nil {
		return err
	}
	switch {
	case in.Segment != nil && in.TotalSegments == nil:
		return invalid("The TotalSegments parameter is required but was not present in the request when Segment parameter is present")
	case in.Segment == nil && in.TotalSegments != nil:
		return invalid("The Segment parameter is required but was not present in the request when parameter TotalSegments is present")
	case in.Segment != nil && *in.Segment >= *in.TotalSegments:
		return invalid("The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: %d is not less than TotalSegments: %d", *in.Segment, *in.TotalSegments)
	}
	return nil
}
