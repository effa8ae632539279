"""The middlewares behind real servers and frameworks, with clients that leave at every moment.

* `frameworks`: one streaming app in each framework. `links`: how a test holds it back, and hears what it hands over.
* `desk`: the middleware around it, and the books, as served by `asgi_target` and `wsgi_target` in other processes.
* `processes`: the servers. `client`: a client on a raw socket. `keeper`: the test's end of the links.
* `matrix`: clients that leave at every moment, and what each of their requests has to cost.
"""
