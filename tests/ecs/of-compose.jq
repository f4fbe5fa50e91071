# What docker-compose.yml (as JSON) says of each container, in the words of of-task-definition.jq. In a task all containers
# share the loopback device, so that a service's name is 127.0.0.1 there.
def setting: tostring | gsub("\\$\\{[A-Z_]+:-(?<default>[^}]*)\\}"; .default);

[.services | to_entries[] | .key as $name | .value | {
    name: $name,
    image: (.image | setting | split("/") | last | split(":")[0]),
    environment: (.environment // {} | map_values(setting | sub("^(app|transform):"; "127.0.0.1:"))),
    user,
    read_only,
    cap_drop,
    stop_seconds: (.stop_grace_period | rtrimstr("s") | tonumber),
    memory_mib: (.deploy.resources.limits.memory | rtrimstr("M") | tonumber),
    ports: [.ports[]? | setting | split(":") | last | tonumber],
    volumes: (.volumes // []),
    waits_for: (.depends_on // [] | sort)
}] | sort_by(.name)
