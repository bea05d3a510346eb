// Test data: every member of config.json on Linux, each with a value of its own, in the order in which
// emit_spec prints them.
#pragma once

namespace onggi::oci {

inline constexpr const char* kFullSpec = R"json({
  "ociVersion": "1.3.0",
  "process": {
    "terminal": true,
    "consoleSize": {"height": 101, "width": 102},
    "user": {
      "uid": 103,
      "gid": 104,
      "umask": 63,
      "additionalGids": [105, 106]
    },
    "args": ["arg-a", "arg-b"],
    "env": ["NAME=value", "OTHER=x"],
    "cwd": "/cwd",
    "capabilities": {
      "bounding": ["CAP_CHOWN"],
      "effective": ["CAP_KILL"],
      "inheritable": ["CAP_SETUID"],
      "permitted": ["CAP_SETGID"],
      "ambient": ["CAP_FOWNER"]
    },
    "rlimits": [
      {"type": "RLIMIT_NOFILE", "hard": 1107, "soft": 108},
      {"type": "RLIMIT_CORE", "hard": 18446744073709551615, "soft": 0}
    ],
    "noNewPrivileges": true,
    "apparmorProfile": "apparmor-profile",
    "oomScoreAdj": -109,
    "scheduler": {
      "policy": "SCHED_DEADLINE",
      "nice": -7,
      "priority": 9,
      "flags": ["SCHED_FLAG_RECLAIM"],
      "runtime": 110,
      "deadline": 111,
      "period": 112
    },
    "selinuxLabel": "selinux-label",
    "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
    "execCPUAffinity": {"initial": "0-1", "final": "2,3"}
  },
  "root": {"path": "the-root", "readonly": true},
  "hostname": "host-name",
  "domainname": "domain-name",
  "mounts": [
    {
      "destination": "/dst",
      "type": "bind",
      "source": "/src",
      "options": ["rbind", "ro"],
      "uidMappings": [
        {"containerID": 113, "hostID": 114, "size": 115}
      ],
      "gidMappings": [
        {"containerID": 116, "hostID": 117, "size": 118}
      ]
    }
  ],
  "hooks": {
    "prestart": [
      {
        "path": "/hook/prestart",
        "args": ["prestart", "x"],
        "env": ["K=prestart"],
        "timeout": 119
      }
    ],
    "createRuntime": [
      {
        "path": "/hook/createRuntime",
        "args": ["createRuntime", "x"],
        "env": ["K=createRuntime"],
        "timeout": 120
      }
    ],
    "createContainer": [
      {
        "path": "/hook/createContainer",
        "args": ["createContainer", "x"],
        "env": ["K=createContainer"],
        "timeout": 121
      }
    ],
    "startContainer": [
      {
        "path": "/hook/startContainer",
        "args": ["startContainer", "x"],
        "env": ["K=startContainer"],
        "timeout": 122
      }
    ],
    "poststart": [
      {
        "path": "/hook/poststart",
        "args": ["poststart", "x"],
        "env": ["K=poststart"],
        "timeout": 123
      }
    ],
    "poststop": [
      {
        "path": "/hook/poststop",
        "args": ["poststop", "x"],
        "env": ["K=poststop"],
        "timeout": 124
      }
    ]
  },
  "annotations": {"org.example.b": "second", "org.example.a": "first"},
  "linux": {
    "uidMappings": [
      {"containerID": 125, "hostID": 126, "size": 127}
    ],
    "gidMappings": [
      {"containerID": 128, "hostID": 129, "size": 130}
    ],
    "sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "4096"},
    "resources": {
      "devices": [
        {"allow": true, "type": "c", "major": 131, "minor": 132, "access": "rw"},
        {"allow": false, "access": "rwm"}
      ],
      "memory": {
        "limit": 133,
        "reservation": 134,
        "swap": -1,
        "kernel": 135,
        "kernelTCP": 136,
        "swappiness": 60,
        "disableOOMKiller": true,
        "useHierarchy": true,
        "checkBeforeUpdate": true
      },
      "cpu": {
        "shares": 137,
        "quota": -1,
        "burst": 138,
        "period": 139,
        "realtimeRuntime": 140,
        "realtimePeriod": 141,
        "cpus": "0-3",
        "mems": "0,1",
        "idle": 1
      },
      "pids": {"limit": 142},
      "blockIO": {
        "weight": 143,
        "leafWeight": 144,
        "weightDevice": [
          {"major": 145, "minor": 146, "weight": 147, "leafWeight": 148}
        ],
        "throttleReadBpsDevice": [
          {"major": 149, "minor": 150, "rate": 151}
        ],
        "throttleWriteBpsDevice": [
          {"major": 152, "minor": 153, "rate": 154}
        ],
        "throttleReadIOPSDevice": [
          {"major": 155, "minor": 156, "rate": 157}
        ],
        "throttleWriteIOPSDevice": [
          {"major": 158, "minor": 159, "rate": 160}
        ]
      },
      "hugepageLimits": [
        {"pageSize": "2MB", "limit": 161}
      ],
      "network": {
        "classID": 162,
        "priorities": [
          {"name": "eth0", "priority": 163}
        ]
      },
      "rdma": {
        "mlx5_1": {"hcaHandles": 164, "hcaObjects": 165}
      },
      "unified": {"memory.high": "max", "cpu.weight": "50"}
    },
    "cgroupsPath": "/cgroups/path",
    "namespaces": [
      {"type": "pid"},
      {"type": "network", "path": "/ns/net"},
      {"type": "mount"},
      {"type": "ipc"},
      {"type": "uts"},
      {"type": "user"},
      {"type": "cgroup"},
      {"type": "time"}
    ],
    "devices": [
      {"path": "/dev/fuse", "type": "c", "major": 166, "minor": 167, "fileMode": 438, "uid": 168, "gid": 169}
    ],
    "netDevices": {
      "eth1": {"name": "inside0"},
      "eth2": {}
    },
    "seccomp": {
      "defaultAction": "SCMP_ACT_ERRNO",
      "defaultErrnoRet": 170,
      "architectures": ["SCMP_ARCH_X86"],
      "flags": ["SECCOMP_FILTER_FLAG_LOG"],
      "listenerPath": "/listener",
      "listenerMetadata": "meta-data",
      "syscalls": [
        {
          "names": ["read", "write"],
          "action": "SCMP_ACT_TRACE",
          "errnoRet": 171,
          "args": [
            {"index": 3, "value": 172, "valueTwo": 18446744073709551615, "op": "SCMP_CMP_MASKED_EQ"}
          ]
        }
      ]
    },
    "rootfsPropagation": "rslave",
    "maskedPaths": ["/proc/kcore"],
    "readonlyPaths": ["/proc/sys"],
    "mountLabel": "mount-label",
    "intelRdt": {
      "closID": "guaranteed",
      "schemata": ["L3:0=f", "MB:0=20"],
      "l3CacheSchema": "L3:0=ff",
      "memBwSchema": "MB:0=70",
      "enableMonitoring": true,
      "enableCMT": true,
      "enableMBM": true
    },
    "memoryPolicy": {
      "mode": "MPOL_BIND",
      "nodes": "0-1",
      "flags": ["MPOL_F_STATIC_NODES"]
    },
    "personality": {
      "domain": "LINUX32",
      "flags": ["flag"]
    },
    "timeOffsets": {
      "monotonic": {"secs": -173, "nanosecs": 174},
      "boottime": {"secs": 175, "nanosecs": 176}
    }
  }
}
)json";

}  // namespace onggi::oci
