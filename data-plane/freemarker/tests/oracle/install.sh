#!/usr/bin/env bash
# Installs what run.sh needs on Debian and Ubuntu, unless it is there.
set -euo pipefail
packages=(default-jdk-headless libfreemarker-java libgoogle-gson-java)
if dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    exit 0
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
