// Package web is the mothership's HTTP servers: the public one, where the API,
// the launchers' API and the objects are, and the one for health and metrics,
// which is meant for the host or the cluster alone.
//
// Nothing stands between a launcher's call and its handler but a route: the time
// from a trigger to the first line of its log is spent here. Requests are logged
// only where the log's level asks for it.
package web
