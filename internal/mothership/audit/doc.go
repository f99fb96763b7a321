// Package audit keeps who did what to what. A row is written in the transaction
// that makes the change, so that neither exists without the other. Rows are only
// ever added. Values that are secret have no place in them.
package audit
