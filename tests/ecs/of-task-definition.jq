# What a task definition says of each container, in the words of of-compose.jq.
[.taskDefinition.containerDefinitions[] | {
    name,
    image: (.image | split("/") | last | split(":")[0]),
    environment: (.environment | map({key: .name, value}) | from_entries),
    user,
    read_only: .readonlyRootFilesystem,
    cap_drop: .linuxParameters.capabilities.drop,
    stop_seconds: .stopTimeout,
    memory_mib: .memory,
    ports: [.portMappings[]?.containerPort],
    volumes: [.mountPoints[]?.containerPath],
    waits_for: [.dependsOn[]?.containerName] | sort
}] | sort_by(.name)
