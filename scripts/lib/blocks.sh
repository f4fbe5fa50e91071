# What scripts/generate writes into the files that other tools read whole, a function for each block: the block NAME-OF-IT is
# made by name_of_it. Sourced after services.sh and settings.sh.
#
# CPU units are ECS's: 1024 are one processor. A container's limits are its line in the file `services`; it is promised a
# quarter of that memory, and on Kubernetes, where scaling goes by what was asked for, twice that CPU.
# shellcheck shell=bash
# shellcheck disable=SC2153,SC2154 # settings.sh has DEFAULT; for_each sets what a block of a service has

NGINX_CPU=256 NGINX_MEMORY=512 # as in the files themselves, which say the rest of nginx

# Of the place where nginx listens, which is for docker-compose, ECS or Kubernetes to say, and of sets, which those do not have.
OF_A_HOST=(HTTP_PORT HTTPS_PORT BIND TLS_CERT TLS_KEY PROXY_HTTP_PORT PROXY_HTTPS_PORT PIN_ADDRESSES)

block= # as far as it is made

# append <<TEXT : behind what there is of the block
append() {
    local text
    IFS= read -r -d '' text || true
    block+=$text
}

# for_each FUNCTION : call it for each service, with name, Name, NAME, port, cpu, memory
for_each() {
    local name Name NAME port cpu memory
    for name in "${SERVICES[@]}"; do
        Name=${name^} NAME=${name^^} port=${SERVICE_PORT[$name]} cpu=${SERVICE_CPU[$name]} memory=${SERVICE_MEMORY[$name]}
        "$1"
    done
}

# settings_of OWNER : set `names` to what it takes in a container
settings_of() {
    local name
    names=()
    for name in "${SETTING_NAMES[@]}"; do
        [[ ${OWNER[$name]} == "$1" || ${OWNER[$name]} == all ]] || continue
        [[ " ${OF_A_HOST[*]} " == *" $name "* ]] || names+=("$name")
    done
}

# default_of SETTING : in $default; nothing where it has none
default_of() {
    default=${DEFAULT[$1]/#-/}
}

# parameter_of SETTING : what cloudformation.yml calls it, in $parameter: MAX_BODY_BYTES is MaxBodyBytes
parameter_of() {
    local word
    parameter=
    for word in ${1//_/ }; do
        word=${word,,}
        parameter+=${word^}
    done
}

# ---- docker-compose*.yml ----

compose_nginx() {
    local names name default
    for_each compose_address
    settings_of nginx
    for name in "${names[@]}"; do
        default_of "$name"
        block+="      $name: \${$name:-$default}"$'\n'
    done
}

compose_address() {
    block+="      ${NAME}_ADDR: \${${NAME}_ADDR:-$name:$port}"$'\n'
}

service_names() {
    for_each service_name
}

service_name() {
    block+="      - $name"$'\n'
}

compose_end() {
    block+="    stop_grace_period: ${STOP_SECONDS}s"$'\n'
}

compose_services() {
    for_each compose_service
}

compose_service() {
    [[ $name == "${SERVICES[0]}" ]] || block+=$'\n'
    append <<TEXT
  $name:
    image: \${REGISTRY:-local}/cgi-$name:\${IMAGE_TAG:-latest}
    build:
      context: .
      dockerfile: Dockerfile
      args:
        BASE: \${BASE:-debian:12.12-slim}
        SERVICE: $name
        PORT: "$port"
TEXT
    compose_settings
    append <<TEXT
    user: "10001:10001"
    read_only: true
    cap_drop:
      - ALL
    stop_grace_period: ${STOP_SECONDS}s
    restart: unless-stopped
    deploy:
      resources:
        limits:
          memory: ${memory}M
    logging: *logging
TEXT
}

# compose_settings : of all services the same, so the first says them
compose_settings() {
    local names setting default
    [[ $name == "${SERVICES[0]}" ]] || { block+=$'    environment: *settings\n' && return; }
    block+=$'    environment: &settings\n'
    settings_of services
    for setting in "${names[@]}"; do
        default_of "$setting"
        block+="      $setting: \${$setting:-$default}"$'\n'
    done
}

compose_limits() {
    for_each compose_limit
}

compose_limit() {
    append <<TEXT
  $name:
    command: ["/run/cgi/"]
    healthcheck:
      test: ["CMD", "is-healthy", "/run/cgi/"]
    volumes: *sockets
    mem_limit: ${memory}m
    security_opt: *security
TEXT
}

# compose_ecs SED_COMMAND... : docker-compose.yml once more, without its words for people, as ecs-cli wants it: it adds no file to
# another that says no version, of which Compose v2 complains. Its log goes to CloudWatch.
compose_ecs() {
    local compose command commands=()
    compose=${NEW[docker-compose.yml]:-$(<"$ROOT/docker-compose.yml")}
    for command; do commands+=(-e "$command"); done
    # shellcheck disable=SC2016 # Compose's variables
    block+=$(sed -n '/^services:/,$p' <<<"$compose" | sed -e '/^ *#/d' "${commands[@]}" -e '/^    logging: &logging/,/^$/c\
    logging: &logging\
      driver: awslogs\
      options:\
        awslogs-group: ${LOG_GROUP:-/ecs/cgi}\
        awslogs-region: ${AWS_REGION:?set it to where the logs go}\
        awslogs-stream-prefix: ecs\
        mode: non-blocking\
        max-buffer-size: 4m\
')$'\n'
}

# compose_ec2 : a task's containers are on a bridge of their own, without DNS
compose_ec2() {
    compose_ecs 's/^    depends_on:/    links:/'
}

# compose_fargate : a task's containers share the loopback device
compose_fargate() {
    compose_ecs 's/^\(      [A-Z]*_ADDR: \).*:\([0-9]*\)}$/\1127.0.0.1:\2/'
}

# ---- ecs-params*.yml ----

ecs_order() {
    for_each ecs_waits_for
}

ecs_waits_for() {
    append <<TEXT
        - container_name: $name
          condition: HEALTHY
TEXT
}

ecs_services() {
    for_each ecs_service
}

ecs_service() {
    append <<TEXT
    $name:
      essential: true
      init_process_enabled: true
      cpu_shares: $cpu
      mem_limit: ${memory}m
      mem_reservation: $((memory / 4))m
      healthcheck:
        test: ["CMD", "ask-health", "$port"]
        interval: 5s
        timeout: 3s
        retries: 3
        start_period: 10s
TEXT
}

# Fargate's sizes of a task: CPU units; the MiB that go with them: least, most, and from one to the next. 256 are too few here.
FARGATE_SIZES=(
    '512 1024 4096 1024' '1024 2048 8192 1024' '2048 4096 16384 1024' '4096 8192 30720 1024' '8192 16384 61440 4096'
    '16384 32768 122880 8192'
)

# fargate_size : the smallest that holds nginx and all services, in task_cpu and task_memory
fargate_size() {
    local cpu=$NGINX_CPU memory=$NGINX_MEMORY name size least most step
    for name in "${SERVICES[@]}"; do ((cpu += ${SERVICE_CPU[$name]}, memory += ${SERVICE_MEMORY[$name]})); done
    for size in "${FARGATE_SIZES[@]}"; do
        read -r task_cpu least most step <<<"$size"
        task_memory=$((memory <= least ? least : least + (memory - least + step - 1) / step * step))
        ((task_cpu < cpu || task_memory > most)) || return 0
    done
    die "services: with nginx they want $cpu CPU units and $memory MiB, and Fargate has no such task; lower some of them"
}

ecs_task_size() {
    local task_cpu task_memory
    fargate_size
    append <<TEXT
    cpu_limit: "$task_cpu"
    mem_limit: "$task_memory"
TEXT
}

# ---- kubernetes/ ----

pod_end() {
    block+="      terminationGracePeriodSeconds: $POD_SECONDS"$'\n'
}

# nginx_end : Kubernetes needs a while until it sends a pod that ends no more clients
nginx_end() {
    append <<TEXT
          lifecycle:
            preStop:
              exec:
                command: ["sleep", "$ROUTED_SECONDS"]
TEXT
}

pod_addresses() {
    for_each pod_address
}

pod_address() {
    append <<TEXT
            - name: ${NAME}_ADDR
              value: unix:/run/pod/$name.sock
TEXT
}

pod_services() {
    for_each pod_service
}

pod_service() {
    [[ $name == "${SERVICES[0]}" ]] || block+=$'\n'
    append <<TEXT
        - name: $name
          image: local/cgi-$name:latest
          imagePullPolicy: IfNotPresent
          args: ["/run/pod/$name.sock"]
          livenessProbe:
            exec:
              command: ["is-healthy", "/run/pod/$name.sock"]
            initialDelaySeconds: 5
            periodSeconds: 5
            timeoutSeconds: 3
            terminationGracePeriodSeconds: 5
          lifecycle:
            preStop:
              exec:
                command: ["flock", "--shared", "--timeout", "$NGINX_GONE_SECONDS", "/run/pod/nginx", "true"]
          resources:
            requests:
              cpu: $((cpu * 2000 / 1024))m
              memory: $((memory / 4))Mi
              ephemeral-storage: 64Mi
            limits:
              memory: ${memory}Mi
              ephemeral-storage: 1Gi
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: ["ALL"]
          volumeMounts:
            - name: pod
              mountPath: /run/pod
TEXT
}

overlay_images() {
    local name=nginx
    overlay_image
    for_each overlay_image
}

overlay_image() {
    append <<TEXT
  - name: local/cgi-$name
    newName: registry.example.org/team/cgi-$name
    newTag: "1.0"
TEXT
}

# ---- cloudformation.yml ----

stack_parameters() {
    local task_cpu task_memory
    fargate_size
    append <<TEXT
  TaskCpu:
    Type: Number
    Default: $task_cpu
    AllowedValues: [256, 512, 1024, 2048, 4096, 8192, 16384]
    Description: CPU units of a task; 1024 are one vCPU
  TaskMemory:
    Type: Number
    Default: $task_memory
    Description: MiB of a task; Fargate has a list of what goes with which CPU
TEXT
    stack_container nginx Nginx "$NGINX_CPU" "$NGINX_MEMORY"
    for_each stack_service_parameters
    append <<TEXT
  StopTimeout:
    Type: Number
    Default: $STOP_SECONDS
    MinValue: 2
    MaxValue: 120
    Description: Seconds that a container has to drain
TEXT
}

stack_service_parameters() {
    stack_container "$name" "$Name" "$cpu" "$memory"
}

# stack_container NAME PREFIX CPU MEMORY : its parameters
stack_container() {
    append <<TEXT
  $2Cpu:
    Type: Number
    Default: $3
    Description: CPU units that $1 has when all want more
  $2Memory:
    Type: Number
    Default: $4
    Description: MiB; $1 is killed above
TEXT
}

stack_nginx() {
    for_each stack_address
    stack_settings nginx
}

stack_address() {
    block+="            - {Name: ${NAME}_ADDR, Value: \"127.0.0.1:$port\"}"$'\n'
}

# stack_settings OWNER : each is a parameter. The load balancer is one of nginx's proxies, in whichever of its subnets.
stack_settings() {
    local names setting parameter value
    settings_of "$1"
    for setting in "${names[@]}"; do
        parameter_of "$setting"
        value="!Ref $parameter"
        [[ $setting != TRUSTED_PROXIES ]] || value="!Sub \"\${SubnetACidr} \${SubnetBCidr} \${$parameter}\""
        block+="            - {Name: $setting, Value: $value}"$'\n'
    done
}

stack_order() {
    for_each stack_waits_for
}

stack_waits_for() {
    block+="            - {ContainerName: $name, Condition: HEALTHY}"$'\n'
}

stack_services() {
    for_each stack_service
}

stack_service() {
    append <<TEXT
        - Name: $name
          Image: !Sub "\${ImageRegistry}/cgi-$name:\${ImageTag}"
          Cpu: !Ref ${Name}Cpu
          Memory: !Ref ${Name}Memory
          Environment:
TEXT
    stack_settings services
    append <<TEXT
          HealthCheck:
            Command: [CMD, ask-health, "$port"]
            Interval: !Ref CheckInterval
            Timeout: !Ref CheckTimeout
            Retries: !Ref CheckRetries
            StartPeriod: !Ref CheckStartPeriod
          User: "10001:10001"
          ReadonlyRootFilesystem: true
          LinuxParameters:
            InitProcessEnabled: true
            Capabilities: {Drop: [ALL]}
          StopTimeout: !Ref StopTimeout
          LogConfiguration:
            LogDriver: awslogs
            Options:
              awslogs-group: !Ref LogGroup
              awslogs-region: !Ref AWS::Region
              awslogs-stream-prefix: ecs
              mode: non-blocking
              max-buffer-size: 4m
TEXT
}

# ---- docs/operations.md, host/settings ----

settings_table() {
    local name default row
    append <<'TEXT'
| name                  | default    | meaning |
|-----------------------|------------|---------|
TEXT
    for name in "${SETTING_NAMES[@]}"; do
        default_of "$name"
        printf -v row '| %-21s | %-10s | %s |' "\`$name\`" "$default" "${MEANING[$name]}"
        block+=$row$'\n'
    done
}

host_settings() {
    local name default
    for name in "${SETTING_NAMES[@]}"; do
        default_of "$name"
        [[ -z $block ]] || block+=$'\n'
        comment "${MEANING[$name]}"
        [[ $default != *' '* ]] || default=\"$default\"
        block+="#$name=$default"$'\n'
    done
}

# comment WORDS : in lines of 120 columns
comment() {
    local word words line='#'
    read -ra words <<<"$1"
    for word in "${words[@]}"; do
        ((${#line} + ${#word} < 120)) || { block+=$line$'\n' && line='#'; }
        line+=" $word"
    done
    block+=$line$'\n'
}
