#!/usr/bin/env bash
# A client that asks with HEAD whether a registry has a layer wants no byte of it. With proxy_cache nginx makes a GET of
# that HEAD, and a request for all of a request with a Range: the first question about a layer fetches the whole of it from
# the registry. Without a cache both go through as they came.
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
debian nginx-light=1.22.1-9+deb12u11 curl

mkdir "$root/site" "$root/cache"
head -c 5000000 /dev/zero | tee "$root/site/first" >"$root/site/second"
chmod 755 "$root/site"
chmod 777 "$root/cache"
cat >"$root/nginx.conf" <<'CONF'
daemon off;
pid /nginx.pid;
error_log /error.log;
events {}
http {
  access_log off;
  log_format asked '$request_method $http_range $body_bytes_sent';
  proxy_cache_path /cache keys_zone=zone:1m;
  server { listen unix:/origin; root /site; access_log /asked.log asked; }
  server { listen unix:/plain; location / { proxy_pass http://unix:/origin:; } }
  server { listen unix:/caching; location / { proxy_pass http://unix:/origin:; proxy_cache zone; proxy_cache_valid 1h; } }
}
CONF
chroot "$root" /usr/sbin/nginx -c /nginx.conf & # not by `inside`, whose process would be the shell's
nginx=$!
trap 'kill "$nginx"; wait "$nginx" || true; rm -rf --one-file-system "$work"' EXIT
for _ in {1..100}; do [ -S "$root/caching" ] && break; sleep 0.1; done
ask() { # SOCKET, CURL'S ARGUMENTS…: what the origin then was asked, and how many bytes it sent
  : >"$root/asked.log"
  inside curl --silent --show-error --output /dev/null --unix-socket "/$1" "${@:2}"
  sleep 0.2
  asked=$(cat "$root/asked.log")
}
say "expected: the origin is asked what the client asks"
ask plain --head http://localhost/first
expect "HEAD, no cache" "$asked" "HEAD - 0"
ask plain --range 0-9 http://localhost/second
expect "ten bytes, no cache" "$asked" "GET bytes=0-9 10"
ask caching --head http://localhost/first
expect "HEAD, proxy_cache" "$asked" "GET - 5000000"
ask caching --range 0-9 http://localhost/second
expect "ten bytes, proxy_cache" "$asked" "GET - 5000000"
