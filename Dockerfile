# A service as an image: docker build --build-arg SERVICE=app --build-arg PORT=9000 . (./scripts/images takes both from the file
# services).

ARG BASE=debian:12.12-slim

FROM ${BASE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        gcc libc6-dev make libfcgi-dev libjansson-dev libseccomp-dev libutf8proc-dev
WORKDIR /src
COPY Makefile services ./
COPY cgi-common cgi-common
ARG SERVICE
COPY cgi-${SERVICE} cgi-${SERVICE}
RUN make -s BUILD=/build CFLAGS=-O2 LDFLAGS=-s /build/cgi-${SERVICE}

FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends \
        libfcgi-bin libjansson4 libseccomp2 '?name(^libutf8proc[0-9]$)' spawn-fcgi && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY scripts/ask-health scripts/container /usr/local/bin/
ARG SERVICE
ARG PORT
COPY --from=build /build/cgi-${SERVICE} /usr/local/bin/cgi-${SERVICE}
# Program and port are written down here: no variable can change them, and Kubernetes sets some that nobody asked for. The
# argument of both is where the service listens (container --help).
RUN printf '#!/bin/sh\nexec container serve %s %s "$@"\n' "$SERVICE" "${PORT:?}" >/usr/local/bin/serve && \
    printf '#!/bin/sh\nexec container ask %s %s "$@"\n' "$SERVICE" "$PORT" >/usr/local/bin/is-healthy && \
    chmod 0755 /usr/local/bin/serve /usr/local/bin/is-healthy
# A folder for sockets that is shared with nginx's container.
RUN install -d -o 10001 -g 0 -m 0770 /run/cgi
USER 10001:10001
EXPOSE ${PORT}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s CMD ["is-healthy"]
ENTRYPOINT ["serve"]
