"""Which test of `test_threads` runs each site that hands something to a thread.

`demo` is `p2pool dev demo` on an engine, in `tests/e2e/test_demo.py`.
"""

from tests.first_run.harness.call_sites import find_sites
from tests.first_run.harness.trio_watch import Watch

TABLE: dict[str, tuple[str, ...]] = {
    "bootstrap": (
        "agent/bootstrap.py run_bootstrap prepare_directory",
        "agent/bootstrap.py run_bootstrap load_or_make_peer_seed",
    ),
    "agent": (
        "agent/agent.py run_agent prepare_directory",
        "agent/agent.py run_agent load_or_make_peer_seed",
        "agent/agent.py run_agent load_or_make_token",
        "agent/agent.py run_agent load_receivers",
        "agent/agent.py fresh_binding sign",
        "drivers/chain/rpc.py Rpc._ask lambda: provider.make_request(RPCEndpoint(method), params)",
        "drivers/hardware/nvml.py read_gpus _read",
        "drivers/hardware/probe.py probe_hardware read_host",
        "drivers/hardware/xid.py XidWatch.run self._listen",
        "drivers/store/store.py Store.open prepare_directory",
        "drivers/store/store.py Store.open configure",
        "drivers/store/store.py Store.open migrate",
        "drivers/store/store.py Store.open open_schema",
        "drivers/store/store.py Store.open Applier",
        "drivers/store/store.py _connect lambda: file.touch(mode=384)",
    ),
    "files": (
        "agent/work/journal.py PieceJournal.load self.read",
        "agent/work/journal.py PieceJournal.keep self._write",
        "agent/streams/evidence.py EvidenceExchange.run self._files.load",
        "agent/streams/evidence.py EvidenceExchange._ask is_named",
        "agent/streams/evidence.py EvidenceExchange._keep document_challenge",
        "agent/streams/evidence.py EvidenceExchange._keep is_named",
        "agent/streams/evidence.py EvidenceExchange._keep self._files.keep",
        "agent/streams/evidence.py EvidenceExchange._read self._files.read",
        "api/http/tokens.py TokenTable.load self._store.load",
        "api/http/tokens.py TokenTable._save self._store.save",
        "drivers/chain/join_driver.py find_in_file _read_bounded",
        "drivers/chain/transactions/journal.py FileJournal.load self._load",
        "drivers/chain/transactions/journal.py FileJournal.save self._write",
        "drivers/chain/transactions/journal.py FileJournal.clear self._remove",
        "drivers/store/store.py Store._commit self._applier.commit",
    ),
    "checks": (
        "drivers/checks/network.py clock_check.ask _offset_ms",
        "drivers/checks/run.py run_checks read_host",
        "drivers/checks/run.py run_checks machine.read_facts",
        "drivers/checks/run.py _network network.port_checks",
        "drivers/containers/docker/probe.py _run _in_thread",
        "drivers/containers/docker/probe.py _run _remove",
    ),
    "webhooks": (
        "drivers/checks/webhooks.py _check load_receivers",
        "drivers/webhooks/delivery.py attempt read_secrets",
    ),
    "consent": (
        "cli/shared/plans/node_keys.py consent_by.consent sign_consent",
        "drivers/chain/join_steps.py Joining.plan.consent sign_consent",
    ),
    "logs": ("cli/task/logs.py _read_all _read",),
    "processes": (
        "drivers/containers/process/runtime.py ProcessRuntime.list self._runs.all",
        "drivers/containers/process/runtime.py ProcessRuntime.read_file"
        " lambda: left_file(files, path, most_bytes)",
        "drivers/containers/process/runtime.py ProcessRuntime.list"
        " lambda: sweep_secrets(self._runs.directory, running)",
        "drivers/containers/process/runtime.py ProcessRuntime.start lambda: self._start(plan)",
        "drivers/containers/process/runtime.py ProcessRuntime.restart"
        " lambda: self._restart(allocation, attempt, secrets)",
        "drivers/containers/process/runtime.py ProcessRuntime.stop"
        " lambda: self._settled(allocation, attempt)",
        "drivers/containers/process/runtime.py ProcessRuntime.stop"
        " lambda: _signal(path, found.processes, signal.SIGTERM)",
        "drivers/containers/process/runtime.py ProcessRuntime.stop"
        " lambda: _signal(path, found.processes, signal.SIGUSR1)",
        "drivers/containers/process/runtime.py ProcessRuntime.remove"
        " lambda: self._remove(allocation, attempt)",
        "drivers/containers/process/runtime.py ProcessRuntime.logs"
        " lambda: self._runs.find(allocation, attempt)",
        "drivers/containers/process/runtime.py ProcessRuntime.logs"
        " lambda: reader.seek_tail(tail_lines, since_ms)",
        "drivers/containers/process/runtime.py ProcessRuntime.logs lambda: reader.read(since_ms)",
        "drivers/containers/process/runtime.py ProcessRuntime._in_thread call",
        "drivers/containers/process/runtime.py ProcessRuntime._wait_ended"
        " lambda: self._runs.find(allocation, attempt)",
    ),
    "containers": (
        "drivers/containers/docker/runtime.py DockerRuntime.read_file"
        " lambda c: archived_file(c, name, path, most_bytes)",
        "drivers/containers/docker/runtime.py DockerRuntime.list"
        " lambda c: rows_of(c.containers(all=True, filters=filters))",
        "drivers/containers/docker/runtime.py DockerRuntime._look"
        " lambda c: record_of(c.inspect_container(name))",
        "drivers/containers/docker/runtime.py DockerRuntime._inspect"
        " lambda c: record_of(c.inspect_container(name))",
        "drivers/containers/docker/runtime.py DockerRuntime._prepare mount_sources",
        "drivers/containers/docker/runtime.py DockerRuntime._create_from"
        " lambda c: c.create_container_from_config(wanted['body'], wanted['name'])",
        "drivers/containers/docker/runtime.py DockerRuntime._run lambda c: c.start(name)",
        "drivers/containers/docker/runtime.py DockerRuntime._run"
        " lambda c: c.remove_container(name, v=True, force=True)",
        "drivers/containers/docker/runtime.py DockerRuntime.gpus_free"
        " lambda c: rows_of(c.containers(filters={'label': [GPUS]}))",
        "drivers/containers/docker/runtime.py DockerRuntime._kill lambda c: c.kill(name, signal)",
        "drivers/containers/docker/runtime.py DockerRuntime._wait_ended"
        " lambda c: record_of(c.inspect_container(name))",
        "drivers/containers/docker/runtime.py DockerRuntime.remove"
        " lambda c: c.remove_container(name, v=True)",
        "drivers/containers/docker/engine/client.py DockerClient.ask call",
        "drivers/containers/docker/engine/client.py DockerClient.support lambda c: c.version()",
        "drivers/containers/docker/engine/client.py DockerClient.support lambda c: c.info()",
        "drivers/containers/docker/engine/streams.py iterate.work stream.pump",
        "drivers/containers/docker/images/store.py Images._record lambda c: c.inspect_image(name)",
        "drivers/containers/docker/directories.py probe_directories _identity",
        "drivers/containers/docker/directories.py probe_directories _plant",
        "drivers/containers/docker/directories.py probe_directories _remove",
        "drivers/containers/docker/networks/isolation.py Isolation.join"
        " lambda c: c.create_container_from_config(body | {'Image': image}, name)",
        "drivers/containers/docker/networks/isolation.py Isolation._start lambda c: c.start(name)",
        "drivers/containers/docker/networks/isolation.py Isolation._filter"
        " lambda c: c.exec_create(name, [NFT, rules], user='0:0')",
        "drivers/containers/docker/networks/isolation.py Isolation._filter"
        " lambda c: c.exec_start(made['Id'], detach=True)",
        "drivers/containers/docker/networks/isolation.py Isolation._filter"
        " lambda c: c.exec_inspect(made['Id'])",
        "drivers/containers/docker/networks/isolation.py Isolation.refresh"
        " lambda c: rows_of(c.containers(filters=filters))",
        "drivers/containers/docker/networks/isolation.py Isolation._inspect"
        " lambda c: record_of(c.inspect_container(name))",
        "drivers/containers/docker/networks/isolation.py Isolation._act call",
        "drivers/containers/docker/networks/task_network.py TaskNetworks._create create",
        "drivers/containers/docker/networks/task_network.py TaskNetworks._networks"
        " lambda c: rows_of(c.networks())",
        "drivers/containers/docker/networks/task_network.py TaskNetworks._remove_unused"
        " lambda c: c.containers(all=True, filters=filters)",
        "drivers/containers/docker/networks/task_network.py TaskNetworks._remove_unused"
        " lambda c: c.remove_network(network)",
        "drivers/containers/docker/disk_usage.py Keeper._own_volumes"
        " partial(_inspect_volume, str(mount['Name']))",
        "drivers/containers/docker/disk_usage.py Keeper.list self._places",
        "drivers/containers/docker/disk_usage.py Keeper.list look",
        "drivers/containers/docker/disk_usage.py Keeper._delete self._store.delete",
        "drivers/containers/docker/disk_usage.py Keeper._delete self._store.place",
        "drivers/containers/docker/disk_usage.py Keeper.export self._store.place",
        "drivers/containers/docker/disk_usage.py Keeper._rows"
        " lambda c: rows_of(c.containers(all=True, size=sizes, filters=filters))",
        "drivers/containers/docker/disk_usage.py Keeper.sweep self._store.outlived",
        "drivers/containers/docker/engine/attachment.py attach ask",
        "drivers/containers/docker/engine/attachment.py feed ask",
        "drivers/containers/docker/engine/attachment.py feed_command ask",
        "drivers/containers/docker/helper.py Helper._find partial(_inspect, name)",
        "drivers/containers/docker/helper.py Helper._load wanted.archive",
        "drivers/containers/docker/helper.py Helper._load load",
        "drivers/containers/docker/helper.py Helper._create partial(_create, wanted, name)",
        "drivers/containers/docker/helper.py Helper._started lambda c: c.start(name)",
        "drivers/containers/docker/helper.py Helper._remove"
        " lambda c: c.remove_container(name, v=True, force=True)",
        "drivers/containers/docker/helper.py Helper.sweep"
        " lambda c: rows_of(c.containers(all=True, filters=filters))",
        "drivers/containers/docker/helper.py Running.finish lambda c: c.wait(self.name)",
    ),
    "challenges": (
        "agent/streams/challenge.py ChallengeServer._answer answers.openings",
        "agent/streams/prover_runs.py ProverSession._ask _read",
        "drivers/containers/docker/engine/attachment.py attach_both_ways ask",
        "drivers/containers/docker/prover.py DockerProvers._started"
        " lambda c: c.create_container_from_config(body, name)",
        "drivers/containers/docker/prover.py DockerProvers._started lambda c: c.start(name)",
        "drivers/containers/docker/prover.py DockerProvers._remove"
        " lambda c: c.remove_container(name, v=True, force=True)",
        "drivers/containers/docker/prover.py DockerProvers.sweep"
        " lambda c: rows_of(c.containers(all=True, filters=filters))",
        "drivers/containers/docker/prover.py Lines.ask lambda _: self._put(line + b'\\n')",
    ),
    "validator": (
        "validator/execution.py Executor.carry_out"
        " lambda: self.journal.plan(acts, dry_run=dry_run)",
        "validator/execution.py Executor._over self.journal.settle",
        "validator/process/challenges.py Challenges._signature sign",
        "validator/process/challenges.py Challenges._settled made",
        "validator/process/challenges.py Challenges._settled self.records.keep",
        "validator/process/challenges.py Challenges._in_index self.records.keep",
        "validator/process/node_offer.py Offered.of agent.node",
        "validator/process/offers.py Offers._offered self.records.document(record).read_bytes",
        "validator/process/others.py Others._told_of self.agent.validations",
        "validator/process/others.py Others._take self._checked",
        "validator/process/turns.py Turns.turn self.executor.journal.compact",
        "validator/process/validator.py ValidatorProcess._act self.records.compact",
        "validator/process/validator.py fresh_binding sign",
        "validator/process/validator.py opened prepare_directory",
        "validator/process/validator.py opened load_or_make_peer_seed",
        "validator/process/validator.py opened Records.opened",
    ),
    "judging": (
        "validator/judging/rounds.py judge_round kept.settle",
        "validator/judging/rounds.py _keep kept.take_in",
        "validator/judging/trial.py Trials.of run",
    ),
    "images": (
        "drivers/containers/docker/images/registry_check.py check_readable ask",
        "drivers/containers/docker/images/store.py Images._nodes_login auth_header",
        "drivers/containers/docker/images/store.py Images.forget_private"
        " lambda c: rows_of(c.images(all=True))",
        "drivers/containers/docker/images/store.py Images._delete"
        " lambda c: c.remove_image(image, force=False, noprune=False)",
        "drivers/containers/docker/images/store.py Images._used_ids"
        " lambda c: rows_of(c.containers(all=True))",
        "drivers/containers/docker/images/pull.py Pull.run self._fetch",
        "dev/engine/runtime.py _image remove_image",
        "dev/engine/runtime.py _why_not_made make",
    ),
    "demo": (
        "dev/admission.py _bring_on lambda: agent.client().invite(invite)",
        "dev/agent.py DevAgent.get lambda: self.client().get(path, **query)",
        "dev/demo.py Demo._play"
        " lambda: load_account(keys / 'manager.json', passphrase, note=lambda text: None)",
        "dev/demo.py Demo._pool_ref client.pool_ref",
        "drivers/chain/transactions/writer.py KeyWriter._sign"
        " signer_of(self._account).sign_transaction",
        "dev/demo.py Demo._submit lambda: to.client().send(signed)",
        "dev/demo.py Demo._line_from_elsewhere first_line",
        "dev/pool.py DevPool.stop remove_image",
        "dev/pool.py DevPool.remove saved.remove",
    ),
}


def missing(exercise: str, watch: Watch) -> list[str]:
    """The sites of an exercise that it did not reach."""
    wanted = set(TABLE[exercise])
    reached = {
        site.name
        for site in find_sites()
        for path, line in watch.lines
        if path == site.path and site.first <= line <= site.last
    }
    return sorted(wanted - reached)
