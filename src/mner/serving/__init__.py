"""Recognition over HTTP, and a page for people: one server for both.

    mner serve runs/mine                     # http://127.0.0.1:8000 the page, /docs the interface

``settings`` says what is accepted and how much of it; ``batching`` gathers posts across clients;
``service`` is what requests and page have in common; ``schemas``, ``routes`` and ``guard`` are HTTP;
``page`` and its neighbours are the page; ``application`` puts them together and ``server`` runs them.

Nothing a request says makes the server open a path on its disk or a URL: pictures come as bytes.
"""
