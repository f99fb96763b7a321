// Package access decides who may do what.
//
// A transport puts the Principal of a request into the context with With. Every
// service asks an Authorizer before it does anything: Require names the action
// and the space. What is not allowed by the one table in action.go is denied,
// and a context without a principal may do nothing at all.
//
// A launcher is not authorised here. It holds a bearer for one worker, and the
// worker API compares that with what the call is about.
package access
