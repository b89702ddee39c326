vcl 4.1;
# Everything is looked up, whatever the client says of it. bench.py fills in what stands between at signs.
backend default { .host = "@origin_host@"; .port = "@origin_port@"; }
sub vcl_recv { return (hash); }
sub vcl_backend_response { set beresp.ttl = 1h; }
