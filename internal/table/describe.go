package table

import (
	"maps"
	"slices"
	"strconv"
)

func (e *Engine) tableARN(name string) string {
	return "arn:aws:dynamodb:" + e.cfg.Region + ":" + e.cfg.AccountID + ":table/" + name
}

// DescribeTable describes a table.
func (e *Engine) DescribeTable(name *string) (*Description, error) {
	n, err := newTableName(name)
	if err != nil {
		return nil, err
	}
	t := e.lookup(n)
	if t == nil {
		return nil, notFound("Requested resource not found: Table: %s not found", n)
	}
	return e.describe(t), nil
}

func (e *Engine) describe(t *state) *Description {
	def := &t.def
	items, bytes := t.counts.read()
	d := &Description{
		TableName: def.Name, TableId: def.ID, TableArn: e.tableARN(def.Name), TableStatus: "ACTIVE",
		CreationDateTime:     float64(def.Created) / 1000,
		AttributeDefinitions: def.Attributes, KeySchema: def.KeySchema,
		ItemCount: items, TableSizeBytes: bytes,
		ProvisionedThroughput:     ThroughputDescription{ReadCapacityUnits: def.Read, WriteCapacityUnits: def.Write},
		OnDemandThroughput:        def.OnDemandCap,
		DeletionProtectionEnabled: def.Protected,
	}
	if def.OnDemandAt != 0 {
		mode := "PROVISIONED"
		if def.OnDemand {
			mode = "PAY_PER_REQUEST"
		}
		d.BillingModeSummary = &BillingSummary{mode, float64(def.OnDemandAt) / 1000}
	}
	for _, x := range def.Locals {
		d.LocalSecondaryIndexes = append(d.LocalSecondaryIndexes, e.describeIndex(t, &x, false))
	}
	for _, x := range def.Globals {
		d.GlobalSecondaryIndexes = append(d.GlobalSecondaryIndexes, e.describeIndex(t, &x, true))
	}
	if def.Stream != "" {
		on := true
		d.StreamSpecification = &StreamSpecification{&on, def.Stream}
	}
	if s := e.streamOf(def); s != nil { // also the last one, for a day after it was switched off
		d.LatestStreamLabel = def.StreamLabel
		d.LatestStreamArn = e.streamARN(s)
	}
	if def.Class != "" {
		d.TableClassSummary = &ClassSummary{def.Class}
	}
	if s := def.SSE; s != nil && s.Enabled != nil && *s.Enabled {
		key := s.KMSMasterKeyId
		if key == "" {
			key = "alias/aws/dynamodb"
		}
		d.SSEDescription = &SSEDescription{"ENABLED", "KMS", "arn:aws:kms:" + e.cfg.Region + ":" + e.cfg.AccountID + ":" + key}
	}
	return d
}

// describeIndex shows an index. Its count is the table's: how many items a
// sparse index leaves out is not tracked.
func (e *Engine) describeIndex(t *state, x *SecondaryIndex, global bool) IndexDescription {
	items, bytes := t.counts.read()
	d := IndexDescription{
		IndexName: x.IndexName, KeySchema: x.KeySchema, Projection: *x.Projection,
		IndexArn:       e.tableARN(t.def.Name) + "/index/" + x.IndexName,
		IndexSizeBytes: bytes, ItemCount: items,
	}
	if !global {
		return d
	}
	d.IndexStatus = "ACTIVE"
	d.OnDemandThroughput = x.OnDemandThroughput
	d.ProvisionedThroughput = &ThroughputDescription{}
	if p := x.ProvisionedThroughput; p != nil {
		d.ProvisionedThroughput.ReadCapacityUnits, d.ProvisionedThroughput.WriteCapacityUnits = *p.ReadCapacityUnits, *p.WriteCapacityUnits
	}
	return d
}

// ListTables lists names after start, up to limit (100 when nil); last is the
// name to go on from, "" at the end.
func (e *Engine) ListTables(start *string, limit *int64) (names []string, last string, err error) {
	var c constraints
	if start != nil {
		c.indexName(start, "exclusiveStartTableName")
	}
	c.atLeast(limit, "limit", 1)
	if limit != nil && *limit > 100 {
		c.add(quoted(strconv.FormatInt(*limit, 10)), "limit", "Member must have value less than or equal to 100")
	}
	if err := c.err(); err != nil {
		return nil, "", err
	}
	n := 100
	if limit != nil {
		n = int(*limit)
	}
	names = slices.Sorted(maps.Keys(e.snapshot().tables))
	if start != nil {
		at, found := slices.BinarySearch(names, *start)
		if found {
			at++
		}
		names = names[at:]
	}
	if len(names) > n {
		return names[:n], names[n-1], nil
	}
	return names, "", nil
}

// Region is the region in the tables' ARNs.
func (e *Engine) Region() string { return e.cfg.Region }
