// Package session logs people and API keys in and recognises them afterwards.
//
// A session is a JWT (HS256) that names a principal and nothing of what it may
// do: that is looked up at every request, so that a key which is deleted or
// loses a role is refused at once, whatever the JWT's expiry.
//
// The audience is exactly the base URL of the API, without a path: existing
// clients take the address that they talk to from it.
package session
