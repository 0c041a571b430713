"""Every bound in the system, in one place, with the relations between them asserted.

A queue, loop, retry, message or table that grows without a name in this file is a bug; what
`p2pool.dev` waits for its own children is there. Values are integers with their unit last in the
name.
"""

# --- bytes on the wire -------------------------------------------------------------------------
GOSSIP_MESSAGE_MAX_BYTES = 16 * 1024
STREAM_FRAME_MAX_BYTES = 1024 * 1024
HELLO_MAX_BYTES = 16 * 1024
# What one stream's sender may be ahead of its reader.
STREAM_UNREAD_MAX_BYTES = 2 * 1024 * 1024
ENVELOPE_OVERHEAD_MAX_BYTES = 256
ENTRY_MAX_BYTES = 256 * 1024
APPEND_BATCH_MAX_BYTES = 512 * 1024
APPEND_BATCH_MAX_ENTRIES = 256
SNAPSHOT_CHUNK_BYTES = 256 * 1024
SNAPSHOT_MAX_BYTES = 64 * 1024 * 1024
SPEC_JSON_MAX_BYTES = 64 * 1024
SPEC_TEXT_MAX_BYTES = 32 * 1024
TEXT_MAX_BYTES = 1024
TASK_REQUIREMENTS_MAX_BYTES = 1024
HOST_NAME_MAX_BYTES = 253
FOREIGN_TEXT_MAX = 8192
ENDPOINT_URL_MAX_BYTES = 2048
NAME_MAX_BYTES = 128
CBOR_MAX_DEPTH = 12
# A message costs by the values in it, whatever its size: their number, in gossip and in a frame.
GOSSIP_ITEMS_MAX = 4_096
FRAME_ITEMS_MAX = 32_768
JSON_MAX_DEPTH = 32
ACCOUNT_SIGNATURE_MAX_BYTES = 1024
DATA_URI_MAX_BYTES = 16 * 1024
HEARTBEAT_AIM_BYTES = 600
IDENTIFY_MAX_BYTES = 64 * 1024
PEER_ID_MAX_BYTES = 64

# --- counts ------------------------------------------------------------------------------------
ADDRESSES_MAX = 8
GPUS_PER_NODE_MAX = 64
ALLOCATIONS_PER_NODE_MAX = 512
ALLOCATIONS_PER_HEARTBEAT_MAX = 200
REPLICAS_MAX = 1000
TASKS_MAX = 10_000
MEMBERS_MAX = 10_000
VOTERS_MAX = 7
LEARNERS_MAX = 3
PEER_LIST_MAX = 64
EXT_FIELDS_MAX = 16
BEATS_PER_ANSWER_MAX = 1024
RECORD_ITEMS_MAX = 1_000_000
ROW_KEY_MAX_BYTES = 1024
PEERS_TRACKED_MAX = 20_000
GUESTS_KNOWN_MAX = 256
GUEST_FRAMES_PER_S = 10
GUEST_FRAMES_BURST = 100
GUEST_FRAMES_KIB_PER_S = 256
GUEST_FRAMES_KIB_BURST = 2 * 1024
# What one connection that is no member's may send, and all of those together, of which each has a
# little for sure; and so much of it is read at a time.
GUEST_KIB_PER_S = 64
GUEST_KIB_BURST = 256
GUESTS_KIB_PER_S = 256
GUESTS_KIB_BURST = 1024
GUEST_KIB_SURE_PER_S = 2
GUEST_KIB_SURE_BURST = 32
GUEST_READ_BYTES = 16 * 1024
GUEST_HELD_BACK_MS = 1_000
GUEST_ITEMS_PER_S = 4_096
GUEST_ITEMS_BURST = 32_768
# What guests may have verified, in checks of a signature; so many values to read count as one.
# Each for sure, and then, of what all of them share, one address and one network of addresses.
GUEST_CHECKS_SURE_PER_S = 1
GUEST_CHECKS_SURE_BURST = 16
GUEST_CHECKS_ADDRESS_PER_S = 128
GUEST_CHECKS_ADDRESS_BURST = 512
GUEST_CHECKS_NETWORK_PER_S = 192
GUEST_CHECKS_NETWORK_BURST = 768
GUEST_CHECKS_ALL_PER_S = 256
GUEST_CHECKS_ALL_BURST = 1_024
CHECK_COST_ITEMS = 128
# After so many checks for one message, other tasks get a turn.
CHECKS_PER_TURN_MAX = 16
GUEST_CHAIN_LINKS_MAX = 32
# Of one guest, and of all together.
GUEST_PROOFS_PER_S = 1
GUEST_PROOFS_BURST = 2
GUESTS_PROOFS_PER_S = 32
# Of one member, who gets the whole chain.
MEMBER_PROOFS_PER_S = 1
MEMBER_PROOFS_BURST = 8
MEMBER_FRAMES_PER_S = 1_000
MEMBER_FRAMES_BURST = 4_000
MEMBER_FRAMES_KIB_PER_S = 8 * 1024
MEMBER_FRAMES_KIB_BURST = 64 * 1024
MEMBER_ITEMS_PER_S = 65_536
MEMBER_ITEMS_BURST = 262_144
# Signatures inside what a member sends or gossips that this node has not checked before.
MEMBER_SIGNATURES_PER_S = 128
MEMBER_SIGNATURES_BURST = 1_024
# How often what a peer says of its own addresses is taken, and written.
HELLO_ADDRESSES_PER_S = 1
HELLO_ADDRESSES_BURST = 8
# Signatures in what we asked a peer for: heartbeats of others, the links of a chain; and bindings.
ASKED_SIGNATURES_PER_S = 64
ASKED_SIGNATURES_BURST = 2_304
BINDINGS_CHECKED_PER_S = 64
BINDINGS_CHECKED_BURST = 512
# Signatures of requests in one leader's appends that a follower has to recover.
APPEND_SIGNATURES_PER_S = 1_024
APPEND_SIGNATURES_BURST = 1_024
# So many of an append's requests are looked at for proof that its leader lies.
BAD_APPEND_SIGNATURES_MAX = 16
# What one peer, or one agent's own clients, may have the chain asked of contract accounts.
CONTRACT_ASKS_PER_S = 1
CONTRACT_ASKS_BURST = 64
CONTRACT_ASKS_QUEUED_MAX = 64
CONTRACT_ASKS_IN_FLIGHT_MAX = 4
CONTRACT_VERDICTS_KEPT_MAX = 256
CONTRACT_GAS_MAX = 5_000_000
# What one peer's questions may draw from us.
ANSWERS_KIB_PER_S = 4 * 1024
ANSWERS_KIB_BURST = 64 * 1024
# Of these, heartbeats of others.
BEATS_SHOWN_PER_S = 32
BEATS_SHOWN_BURST = 2_048
# Questions whose answers are awaited: one to each member, twice over.
QUESTIONS_AWAITED_MAX = 20_000
REQUEST_NUMBER_MAX = 2**53 - 1
SIGNERS_CACHED_MAX = 4096
ENVIRONMENT_MAX = 128
MOUNTS_MAX = 16
PORTS_MAX = 32
LABELS_MAX = 32
CONSTRAINTS_MAX = 16
TASK_REQUIREMENTS_CACHED_MAX = 1024
SECRETS_MAX = 32
SECRET_MAX_BYTES = 32 * 1024
SECRETS_TOTAL_MAX_BYTES = 64 * 1024
SECRET_NAME_MAX_BYTES = 64
SECRET_RECIPIENTS_MAX = 64
SECRET_BLOB_MAX_BYTES = 128 * 1024
SECRETS_JSON_MAX_BYTES = 16 * 1024
SECRET_BLOBS_MAX = 1024
SECRET_BLOBS_MAX_BYTES = 32 * 1024 * 1024
# Of those that no request in the log names yet: all, and from one source.
SECRET_BLOBS_UNCLAIMED_MAX = 64
SECRET_BLOBS_PER_SOURCE_MAX = 16
SECRET_UNCLAIMED_MS = 15 * 60_000
SECRET_SWEEP_MS = 10_000
SECRET_FETCHES_MAX = 8
SECRET_RETRY_MS = 3_000
SECRET_RUNNING_ASKED_MAX = 4
SECRETS_WAIT_MAX_MS = 60_000
SECRET_KEYS_SEALED_PER_S = 2
SECRET_KEYS_SEALED_BURST = 64
SECRET_CIPHERTEXT_MAX_BYTES = 96 * 1024
SECRET_PADDED_TO_BYTES = 256
SECRET_NONCE_BYTES = 24
DATA_KEY_BYTES = 32
SEALED_KEY_MAX_BYTES = 512
REGISTRY_AUTH_MAX_BYTES = 8 * 1024
COMMAND_ARGUMENTS_MAX = 256
INVITES_KEPT_MAX = 1000
HISTORIES_KEPT_MAX = 64
FINISHED_TASKS_KEPT = 1000
LEFT_KEPT_MAX = 1000
FORMER_RIGHTS_KEPT_MAX = 1000
MOVES_PER_ENTRY_MAX = 200
OPENED_KEPT_MAX = 1024
BINDINGS_CHECKED_MAX = 4096

# --- the replicated state ----------------------------------------------------------------------
LOG_NUMBER_MAX = 2**53
STATE_MAX_BYTES = SNAPSHOT_MAX_BYTES // 2
STATE_COPIES_MAX = 100_000
STATE_TASK_BYTES = 1024
STATE_COPY_BYTES = 256
STATE_FINISHED_MAX_BYTES = SNAPSHOT_MAX_BYTES // 8
STATE_APPLIED_MAX = 100_000
STATE_NODES_MAX = 20_000
STATE_DELEGATED_SHARE = 2

# --- certificates ------------------------------------------------------------------------------
SEALED_SIGNATURE_MAX_BYTES = 768
HISTORY_SIGNATURE_MAX_BYTES = 384
CHAIN_LINKS_MAX = 128
RECENT_LINKS_SIGNED_MAX = 8
COMMITTEES_PROVEN_MAX = 8
PROOFS_ASKED_MAX = 64
VOTERS_SEEN_MAX = 64
TERMS_REMEMBERED_MAX = 64
WORDS_SEEN_PER_VOTER_MAX = 128
# A voter signs one a second while the log moves: about a minute of them.
HISTORIES_SEEN_PER_VOTER_MAX = 64
EVIDENCE_KEPT_MAX = 256
EVIDENCE_PER_VOTER_MAX = 4
# A longer append that was refused is no evidence: it does not fit into gossip.
BAD_APPEND_MAX_BYTES = 12 * 1024
BAD_APPENDS_KEPT_MAX = 64
ENCLOSED_CACHED_MAX = 4096
CERTIFICATE_LIFETIME_MS = 120_000
CERTIFY_INTERVAL_MS = 60_000
# A leader without a quorum's certificate for so long keeps nobody else from leading.
LEADER_UNPROVEN_MS = CERTIFICATE_LIFETIME_MS + CERTIFY_INTERVAL_MS
CERTIFY_RETRY_MIN_MS = 2_000
CERTIFY_RETRY_MAX_MS = 30_000
CERTIFICATE_TELL_TIMES = 3
CERTIFICATE_TELL_INTERVAL_MS = 15_000
CERTIFICATE_ASK_MS = 2_000
# A voter signs the log's history at most once in so long.
HISTORY_SIGN_INTERVAL_MS = 1_000
HISTORY_RETRY_MS = 3_000
# A log that contradicts what a quorum signed so often is discarded, unless a quorum signed it too.
CONTRADICTIONS_MAX = 2
# Who heard no certificate in force for so long may take others' word for a committee.
COMMITTEE_UNHEARD_MS = 600_000
EVIDENCE_REPEAT_MS = 120_000
CERTIFY_QUESTIONS_KEPT_MAX = 4
# After more questions without an answer the leader says so.
CERTIFY_UNANSWERED_MAX = 3
CERTIFICATION_POINTS_KEPT_MAX = 8

# --- planning ----------------------------------------------------------------------------------
ORDER_SPECS_MAX_BYTES = 768 * 1024
# Of a copy in an order, besides the texts and signatures of its submission and its GPUs.
ORDER_COPY_MAX_BYTES = 384
ORDER_STOP_MAX_BYTES = 48
# Nodes with more copies than an order holds that a leader names to people.
OVERFULL_SHOWN_MAX = 8
# What one node's reports may change in the log: outcomes, and reasons alone; how long a reason of a
# copy stands before the next one, after the first few; an outcome in an entry, without its texts.
REPORT_CHANGES_PER_S = 32
REPORT_CHANGES_BURST = 4 * ALLOCATIONS_PER_NODE_MAX
REPORT_REASONS_PER_S = 1
REPORT_REASONS_BURST = ALLOCATIONS_PER_NODE_MAX
REASON_LASTS_S = 60
REASONS_AT_ONCE = 4
OUTCOME_MAX_BYTES = 80
CLAIMS_PER_REPORT_MAX = 64
CLAIMS_MAX_BYTES = 512 * 1024
PLACEMENTS_PER_PLAN_MAX = 2_000
REFUSAL_TEXT_MAX_BYTES = 200
# Reasons in full: of how many copies a node keeps them, and tells of one task; how many nodes are
# asked for those of a task.
ENGINE_TEXT_MAX_BYTES = 2048
FULL_REASONS_KEPT_MAX = 256
FULL_REASONS_TOLD_MAX = 16
FULL_REASONS_NODES_MAX = 32
# Nodes set aside for a task because they refused to start it, and for all tasks together.
SET_ASIDE_PER_TASK_MAX = 256
SET_ASIDE_MAX = 4096

# --- what a task may ask for -------------------------------------------------------------------
TASK_TIME_MAX_S = 10 * 365 * 24 * 3600
TASK_MEMORY_MIN_BYTES = 6 * 1024 * 1024
# Whoever asks for less meant another unit: 80 for 80 GiB of a GPU, 512 for 512 MiB of /dev/shm.
SIZE_MIN_BYTES = 1024 * 1024
MEMORY_FILES_MIN_BYTES = 64 * 1024
RESOURCE_MAX_BYTES = 2**50
CPU_MILLI_MAX = 4096 * 1000
PORT_MAX = 65535
PRIORITY_MAX = 100
RESTART_ATTEMPTS_MAX = 1000
TASK_PIDS_DEFAULT = 4096
TASK_PIDS_MAX = 32_768
VOLUME_KEEP_MAX_S = 365 * 24 * 3600
IMAGE_NAME_MAX_BYTES = 512
TASK_NAME_MAX_BYTES = 63
# The highest number in a delegation's quota; more than any pool has.
QUOTA_NUMBER_MAX = 2**40
DELEGATION_FILE_MAX_BYTES = 64 * 1024

# --- queues ------------------------------------------------------------------------------------
INPUT_QUEUE_MAX = 4096
INPUT_QUEUE_MAX_BYTES = 256 * 1024 * 1024
# So many inputs of members come before one of anybody else.
MEMBERS_IN_A_ROW = 8
# Of these, one peer's frames and gossip.
PEER_INPUTS_MAX = 512
PEER_INPUTS_MAX_BYTES = 8 * 1024 * 1024
INPUTS_PER_STEP_MAX = 256
PEER_SEND_QUEUE_MAX = 512
GOSSIP_QUEUE_MAX = 1024
EVENTS_KEPT_MAX = 4096
EVENTS_KEPT_MAX_BYTES = 4 * 1024 * 1024
# So long a reader waits whose last event this agent has not heard of yet.
EVENTS_AHEAD_WAIT_MS = 5_000
SUBSCRIBER_QUEUE_MAX = 256
PROPOSALS_IN_FLIGHT_MAX = 1024
PROPOSALS_IN_FLIGHT_MAX_BYTES = 16 * 1024 * 1024
REASONS_PER_ENTRY_MAX = 200
FORWARDS_PER_PEER_MAX = 64
REQUESTS_IN_FLIGHT_MAX = 1024
CONNECTIONS_MAX = 512
CONNECTIONS_AIM = 64
# Those that we make come on top.
CONNECTIONS_OUTBOUND_MAX = 256
# Those of others whose handshake has not begun, on top too. Of the rest: before a proven key,
# before a judged hello, and what guests leave to members.
SLOTS_HALF_OPEN_MAX = 256
SLOTS_HANDSHAKE_MAX = 64
SLOTS_STRANGERS_MAX = 64
SLOTS_MEMBERS_RESERVED = 128
# How long one keeps its place in a crowd, and how much longer if it has sent anything.
SLOT_KEPT_MIN_MS = 1_000
SPOKE_PATIENCE_MS = 2_000
HANDSHAKE_TIMEOUT_MS = 5_000
# Descriptors: for all connections, the API's, and what else an agent has open.
OPEN_FILES_NEEDED = 2_048
ACCEPT_FAILED_SAID_MS = 60_000
# How many connections wait in the kernel, are looked at and let in before anything else has a
# turn; how often they may come, all together, and from each neighbourhood whatever the others do.
ACCEPT_BACKLOG_MAX = 1_024
ACCEPTED_AT_ONCE_MAX = 64
LET_IN_AT_ONCE_MAX = 8
ARRIVALS_PER_S = 64
ARRIVALS_BURST = 256
ARRIVALS_SURE_PER_S = 1
ARRIVALS_SURE_BURST = 8
# How long a handshake waits for its turn among those of its address.
KNOCK_WAIT_MS = 4_000
KNOCK_RETRY_MS = 50
KNOCK_LOOK_MS = 10
# So many at most wait, of which the most crowded neighbourhood gives way.
KNOCKS_WAITING_MAX = 48
PEER_BOOK_MAX = 2048
# Nodes that a bootstrap node keeps, and of one provider's.
INTRODUCTIONS_MAX = 8_192
INTRODUCTIONS_PER_PROVIDER_MAX = 2_048
LISTENING_ASKED_MAX = 8
# Addresses of a peer that others name: of one peer, of one source there, and of one source in all.
HINTS_PER_PEER_MAX = 8
HINTS_PER_PEER_AND_SOURCE_MAX = 4
HINTS_PER_SOURCE_MAX = 256
# Those that turn out wrong are charged to their source.
HINTS_WRONG_PER_S = 1
HINTS_WRONG_BURST = 64
HINTS_TRIED_MAX = 4096
DIALS_IN_FLIGHT_MAX = 8
# Of these, only for peers that somebody has a message for.
DIALS_RESERVED = 2
STREAMS_PER_PEER_MAX = 64
STREAMS_PER_PEER_PER_S = 16
STREAMS_PER_PEER_BURST = 256
# How often one peer, one host with whatever peers, and all together may connect to us.
CONNECTS_PER_PEER_PER_S = 2
CONNECTS_PER_PEER_BURST = 32
CONNECTS_PER_HOST_PER_S = 12
CONNECTS_PER_HOST_BURST = 32
CONNECTS_PER_S = 16
CONNECTS_BURST = 48
# How fast one connection is read: its bytes, and the muxer's messages, two reads each at most. What
# makes us answer counts as several.
CONNECTION_KIB_PER_S = 16 * 1024
CONNECTION_KIB_BURST = 64 * 1024
CONNECTION_READS_PER_S = 4_000
CONNECTION_READS_BURST = 16_000
CONNECTION_READS_PER_QUESTION = 8
# The same of whoever is not known as a member.
GUEST_CONNECTION_KIB_PER_S = 2 * 1024
GUEST_CONNECTION_KIB_BURST = 8 * 1024
GUEST_CONNECTION_READS_PER_S = 1_000
GUEST_CONNECTION_READS_BURST = 4_000
# What a connection may make us hold: unread, or read and not used yet. Of a member's: more than its
# windows together. Of one guest's, and of all together with what is queued towards them.
CONNECTION_HELD_MAX_BYTES = 64 * 1024 * 1024
# How many streams of a connection have a window for the longest frames; the others have Yamux's.
WIDE_STREAMS_MAX = 8
YAMUX_WINDOW_BYTES = 256 * 1024
GUEST_HELD_MAX_BYTES = 2 * 1024 * 1024
GUESTS_HELD_MAX_BYTES = 16 * 1024 * 1024
GUEST_STREAMS_MAX = 16
# What is queued towards a guest beside one answer, and when it has to have taken some of it.
GUEST_SEND_QUEUE_MAX = 64
GUEST_SEND_QUEUE_MAX_BYTES = 256 * 1024
# What is read of a connection before it is secured and has a muxer; of one agreement on a protocol.
HANDSHAKE_MAX_BYTES = 16 * 1024
AGREEMENT_LINE_MAX_BYTES = 1024
AGREEMENT_LINES_MAX = 16
PEER_SEND_QUEUE_MAX_BYTES = 8 * 1024 * 1024
GOSSIP_PEER_QUEUE_MAX = 256
# What one neighbour hands on, new or not; of these: messages whose origin is no member that we
# know, and forgeries, of which nobody honest hands on any.
GOSSIP_PER_FORWARDER_PER_S = 1_000
GOSSIP_PER_FORWARDER_BURST = 16_384
GOSSIP_UNKNOWN_PER_S = 64
GOSSIP_UNKNOWN_BURST = 1_024
GOSSIP_FORGED_PER_S = 1
GOSSIP_FORGED_BURST = 32
GOSSIP_PER_ORIGIN_PER_S = 20
GOSSIP_PER_ORIGIN_BURST = 100
# A message of so many bytes counts twice, one of twice as many three times.
GOSSIP_COST_BYTES = 4 * 1024
# What it announces, asks for, joins and leaves, and what that draws from us.
GOSSIP_CONTROL_PER_S = 20
GOSSIP_CONTROL_BURST = 200
GOSSIP_DRAWN_KIB_PER_S = 1024
GOSSIP_DRAWN_KIB_BURST = 8 * 1024
GOSSIP_ANSWER_MAX_BYTES = 512 * 1024
GOSSIP_IDS_MAX = 5_000
GOSSIP_ASKED_MAX = 512
# After so many messages that were known, other tasks get a turn; after a new one always.
GOSSIP_PER_TURN_MAX = 64
# How often the parts of a node may set each other going within one step.
STEP_ROUNDS_MAX = 16
# After this many frames from the buffer, other tasks get a turn.
FRAMES_PER_TURN_MAX = 16
# Frames are joined into one write up to here.
FRAMES_PER_WRITE_MAX_BYTES = 64 * 1024
CHAIN_READS_IN_FLIGHT_MAX = 8
CHAIN_CALLS_IN_FLIGHT_MAX = 8
# What is read of one answer of an endpoint: a list of all members takes a tenth of it.
CHAIN_ANSWER_MAX_BYTES = 8 * 1024 * 1024
CHAIN_ANSWER_ITEMS_MAX = 262_144
# A search in the past of a contract goes so far back, and takes in so many events.
PAST_SPAN_MAX_BLOCKS = 4_096
PAST_SPANS_MAX = 32
PAST_EVENTS_MAX = 16_384
# Events are asked for in spans of so many blocks at most, and in so many spans; beyond that, the
# whole roster is read. Of the blocks before a span so many are asked for again: an endpoint that is
# behind leaves out events.
CHAIN_SPAN_MAX_BLOCKS = 512
CHAIN_SPANS_MAX = 64
CHAIN_OVERLAP_BLOCKS = 16
# What the follower keeps until it is final: the headers of blocks, changes of the roster, events.
CHAIN_HEADERS_MAX = 2_048
CHAIN_CHANGES_MAX = 256
CHAIN_EVENTS_MAX = 4_096
CHAIN_PAUSE_DOUBLINGS_MAX = 8
# A new block as an endpoint tells of it, and how many of them wait to be looked at.
CHAIN_HEAD_MAX_BYTES = 64 * 1024
CHAIN_HEADS_KEPT_MAX = 64
# The numbers that endpoints may state: of blocks and gas, of prices in wei, of contracts.
CHAIN_NUMBER_MAX = 2**53 - 1
CHAIN_PRICE_MAX = 2**64 - 1
CHAIN_WORD_MAX = 2**256 - 1
# How many members one question to the voters about the chain names.
CHAIN_FACTS_MAX = 64
# So much of what is on its way back to a provider is listed; a contract keeps fewer.
UNBONDS_SHOWN_MAX = 256
# How many nodes one command takes into a pool, or out of it, in one transaction: each takes some
# 200,000 gas, and a block has room for a hundred of them.
BATCH_NODES_MAX = 64
# A slash's reason stands on the chain, where each byte costs gas.
SLASH_REASON_MAX_BYTES = 256
# A file of evidence that a reason names by its digest.
EVIDENCE_FILE_MAX_BYTES = 64 * 1024 * 1024
# What a validator's policy does in one go, and what of its acts is kept on disk: those of the time
# in which a finding counts, and never more than these.
POLICY_ACTS_MAX = 64
JOURNAL_ACTS_MAX = 8_192
JOURNAL_FILE_MAX_BYTES = 32 * 1024 * 1024
JOURNAL_LINE_MAX_BYTES = 64 * 1024
ACT_FINDINGS_MAX = 256
# A piece of work is named by a hash, and its judge counts it in units.
WORK_KEY_BYTES = 32
# Numbers of JSON are exact up to here.
WORK_UNITS_MAX = 2**53 - 1
# A file of work is read whole, into memory, within this time, when its copy has ended.
WORK_RESULT_MAX_BYTES = 1024 * 1024
WORK_READ_DEADLINE_MS = 10_000
# So many pieces wait on an agent for the chain, for so long; what comes beyond is only counted.
WORK_OPEN_MAX = 1_024
WORK_AGE_MAX_MS = 7 * 24 * 3600 * 1000
# Pieces that are over are remembered for longer than a container is kept, up to this number.
WORK_KEPT_MAX = 8_192
WORK_RETRY_MIN_MS = 30_000
WORK_RETRY_MAX_MS = 3_600_000
# So often the chain is asked whether a validator took a piece back, of those that are this young.
WORK_REVIEW_MS = 600_000
WORK_REVIEW_AGE_MS = 3 * 24 * 3600 * 1000
WORK_PER_HOUR_DEFAULT = 60
WORK_PER_HOUR_MAX = 3_600
WORK_SHOWN_MAX = 16
# Events of work that a validator reads in one go, unless one block has more.
WORK_PART_EVENTS = 256
# Pieces that wait for a judge, and those that were judged and are kept. No more are read from the
# chain while so many wait.
WORK_WAITING_MAX = 4_096
WORK_JUDGED_MAX = 2_048
WORK_FILE_MAX_BYTES = 8 * 1024 * 1024
# What a judge of work says for itself, and how many of its threads may hang.
JUDGE_EVIDENCE_MAX_BYTES = 1024
JUDGES_AT_ONCE = 4
# A piece on which a judge has no word is tried again in later rounds, so often.
JUDGE_TRIES = 3
# Tasks that may be behind a piece and are run again for it, and lines that are read of a run.
JUDGE_TASKS_MAX = 4
JUDGE_LINES_MAX = 200
# The contract counts the units of a node in 32 bits.
COMPUTE_UNITS_MAX = 2**32 - 1
# While many leave at once, one member in so many goes each minute (but at least one).
CHAIN_REMOVALS_SHARE = 10

# --- time --------------------------------------------------------------------------------------
CLOCK_SKEW_MAX_MS = 30_000
CLOCK_WINDOW_MS = 10_000
BINDING_LIFETIME_MAX_S = 30 * 24 * 3600
BINDING_FUTURE_MAX_S = 30
BINDING_CHECK_S = 30
REQUEST_LIFETIME_MAX_S = 3600
GRANT_LIFETIME_MAX_S = 3600
REQUEST_DEADLINE_MS = 10_000
FORWARD_DEADLINE_MS = 8_000
ANSWER_DEADLINE_MS = 15_000
FORWARD_RETRY_MS = 2_000
FORWARD_PAUSE_MS = 200
CATCH_UP_WAIT_MS = 3_000
FETCH_RETRY_MS = 100
FETCH_WHOLE_MAX_MS = 60_000
# By whose word the log goes on, and how often others may have no more before one counts no longer.
FETCH_CLAIMS_MAX = 64
FETCH_MISSES_MAX = 8
DISTRUSTED_MS = 300_000
DISCARD_PAUSE_MS = 600_000
# A store whose term lies out of every leader's reach is given up, this often.
RENEW_PAUSE_MS = 600_000
HEARTBEAT_MIN_INTERVAL_MS = 5_000
HEARTBEAT_CHANGE_INTERVAL_MS = 1_000
HEARTBEAT_MEMBERS_PER_SECOND = 20
HEARTBEATS_MISSED_MAX = 3  # by then a silent node is under suspicion anyway
ANNOUNCE_INTERVAL_MS = 5_000
ANNOUNCE_CHANGE_INTERVAL_MS = 1_000
PROBE_INTERVAL_MS = 2_000
PROBE_TIMEOUT_MS = 1_500
PROBE_MISSES = 3
LOST_HINT_MS = 300
PROBE_ALONE_MS = 15_000
WITNESS_PATIENCE_MS = 5_000
HINTS_PER_PEER_MAX = 16
HINT_PAUSE_MS = 5_000
WITNESSES_MAX = 3
WATCHED_MAX = 8
EXCHANGE_INTERVAL_MS = 30_000
HARDWARE_ASK_MS = 10_000
HARDWARE_ASKS_MAX = 8
SUSPICIONS_MAX = 256
SUSPICION_MS = 10_000
JUDGEMENT_GRACE_MS = 10_000
ONBOARDING_STALL_MS = 180_000
DEAD_AFTER_MS = 24 * 3600 * 1000
MASS_LOSS_WINDOW_MS = 60_000
MASS_LOSS_HOLD_MS = 600_000
MASS_LOSS_MIN_NODES = 2
DISCONNECT_STOP_MARGIN_MS = 30_000
DECIDE_INTERVAL_MS = 1_000
COMMITTEE_INTERVAL_MS = 1_000
VOTER_REPLACE_AFTER_MS = 60_000
REMOVAL_INTERVAL_MS = 60_000
OUT_PATIENCE_MS = 300_000
LEARNER_ANSWER_MS = 20_000
LEARNER_CATCH_UP_MS = 900_000
CANDIDATES_FAILED_MAX = 256
CANDIDATE_FAILURES_MAX = 3
CANDIDATE_BACK_OFF_MS = 60_000
CANDIDATE_MEMORY_MS = 3_600_000
CONFIRM_LIFETIME_MS = 30_000
LEADER_OUT_PATIENCE_MS = 30_000
RELUCTANT_MS = 30_000
HAND_ON_PAUSE_MS = 10_000
LOOP_LAG_MAX_MS = 1_000
RECONNECT_WINDOW_DEFAULT_S = 300
RETURN_WAIT_MS = 10_000
STOP_GRACE_DEFAULT_S = 10
STOP_GRACE_MAX_S = 3600
RUN_UNTIL_DEFAULT_S = 30 * 24 * 3600
RESTART_BACKOFF_MIN_MS = 1_000
RESTART_BACKOFF_MAX_MS = 300_000
RESTARTS_FORGIVEN_MS = 600_000
# How long a node tries to start a copy that the world keeps from starting, before another may.
START_TROUBLE_MAX_MS = 300_000
# How long a node that refused a task is set aside for it, doubling with each refusal.
SET_ASIDE_MIN_MS = 60_000
SET_ASIDE_TOP_MS = 1_800_000
# After failed starts of so many tasks in a row a node takes itself out, for a while that doubles.
STARTS_FAILED_MAX = 3
OUT_OF_PLACEMENT_MIN_MS = 60_000
OUT_OF_PLACEMENT_TOP_MS = 1_800_000
PROBATION_ASK_MS = 1_000
PROBATION_ASKED_MAX = 16
PROBATION_ALONE_MS = 3_000
PROBATION_MAX_MS = 10_000
CLONE_MARGIN_MS = 2_000
CLONE_WORDS = 4
DOUBLED_MS = 300_000
WITNESS_INTERVAL_MS = 10_000
SEEN_SHOWN_MAX = 3
LOG_ENDS_WAIT_MS = 4_000
LOG_END_QUESTIONS_MAX = 8
# What a new digest of the log's end costs all peers together, of a budget of a second each second.
LOG_END_DIGEST_COST_S = 60
LOG_END_DIGESTS_BURST_S = 240
ADOPTION_WAIT_MS = 20_000
ORDER_RESEND_MS = 3_000
# How often a node draws its whole order by what it does: it connects, or reports what does not fit.
ORDER_PAUSE_MS = 1_000
REPORT_RESEND_MS = 3_000
RECONCILE_INTERVAL_MS = 5_000
RUNTIME_PROBE_INTERVAL_MS = 10_000
CHAIN_CALL_TIMEOUT_MS = 5_000
CHAIN_POLL_INTERVAL_MS = 1_000
# A chain with slow blocks is looked at less often, by so many times at most, and one that tells of
# them by itself.
CHAIN_POLL_SLOWER = 3
CHAIN_HEADS_POLL_MS = 10_000
# In rest the final block is looked at so often; for a while after each change, at each poll.
CHAIN_FINAL_LOOK_MS = 10_000
CHAIN_CHANGE_WATCH_MS = 30_000
# One member is read again so often, whatever the pool's size: an event may have been left out.
CHAIN_MEMBER_READ_MS = 20_000
# So long an endpoint may lag behind what it said itself before that is told: many are several.
CHAIN_LAG_MS = 10_000
# A head that stays is compared with the other endpoints' after so long, and told after so long.
CHAIN_STILL_LOOK_MS = 30_000
CHAIN_HALTED_MS = 300_000
# How long an endpoint is left alone that gets too many calls: at first, at most; how long a call
# waits for that.
CHAIN_PAUSE_LEAST_MS = 100
CHAIN_PAUSE_MIN_MS = 1_000
CHAIN_PAUSE_MAX_MS = 120_000
CHAIN_PAUSE_WAIT_MAX_MS = 15_000
CHAIN_COMPARE_TIMEOUT_MS = 2_000
CHAIN_COMPARE_PAUSE_MS = 30_000
CHAIN_BEHIND_MAX_MS = 600_000
CHAIN_ASK_MS = 1_000
CHAIN_ASK_MAX_MS = 5_000
CHAIN_ASKED_SOON = 8  # questions, before they come more slowly
CHAIN_JOIN_ALONE_MS = 60_000
CHAIN_HOLD_MS = 600_000
CHAIN_REMOVALS_WINDOW_MS = 60_000
JOIN_POLL_MIN_MS = 1_000
JOIN_POLL_MAX_MS = 10_000
JOIN_REFUSED_MAX = 64
CHAIN_FULL_READ_INTERVAL_MS = 600_000
# How often an agent reads its provider's coin and stake where no event names the provider, and the
# pause after each look, however many do.
PROVIDER_POLL_MS = 600_000
PROVIDER_PAUSE_MS = 30_000
# What a contract account is asked: for how long, how often again where nobody knows, and how far
# the block of an answer may lie behind the last final one (two spans of a chain that finalizes in
# spans).
CONTRACT_CALL_TIMEOUT_MS = 3_000
CONTRACT_ASK_AGAIN_MS = 5_000
CONTRACT_ASKED_MAX_MS = 15_000
CONTRACT_BLOCK_KEPT_MS = 60_000
CONTRACT_BLOCK_AGE_MAX_MS = 1_200_000
TRANSACTION_DEADLINE_MS = 120_000
# A transaction that is in no block is looked into so often. It is offered more once the base fee
# has outgrown it, or once so many blocks and so much time went by without it.
TRANSACTION_LOOK_MS = 5_000
TRANSACTION_RAISE_BLOCKS = 3
TRANSACTION_RAISE_MS = 30_000
# From then on people are told of it.
TRANSACTION_STUCK_MS = 30_000
TRANSACTION_ATTEMPTS_MAX = 24
TRANSACTION_FILE_MAX_BYTES = 1024 * 1024
# A nonce that is used while no block shows a transaction of ours was another wallet's, once so many
# looks in a row say so: endpoints behind one address differ in height.
NONCE_GONE_LOOKS = 3
NONCE_TRIES_MAX = 3
# A transaction found in a block that is this young is the answer to the call that finds it.
TRANSACTION_FRESH_MS = 60_000
GAS_TIP_MAX_WEI = 30 * 10**9
GAS_FEE_MAX_DEFAULT_GWEI = 200
GAS_FEE_MAX_GWEI = 1_000_000
DIAL_TIMEOUT_MS = 5_000
DIAL_BACKS_PER_HOST_PER_S = 1
DIAL_BACKS_PER_HOST_BURST = 5
DIAL_BACKS_PER_S = 4
DIAL_BACKS_BURST = 16
DIAL_BACK_PORTS_MAX = 4
DIAL_BACK_TIMEOUT_MS = 3_000
DIAL_BACKOFF_MIN_MS = 500
DIAL_BACKOFF_MAX_MS = 60_000
HELLO_TIMEOUT_MS = 5_000
STREAM_WRITE_TIMEOUT_MS = 10_000
GUEST_TAKES_MS = 10_000
MUXER_BODY_TIMEOUT_MS = 60_000
STREAM_REOPEN_MIN_MS = 50
STREAM_REOPEN_MAX_MS = 2_000
SHUTDOWN_DEADLINE_MS = 5_000
RETIRE_DEADLINE_MS = 3_000
FETCH_SPREAD_PER_MEMBER_MS = 2
ROSTER_TICK_MS = 1_000
CLOCK_SLICE_MS = 1_000
# What the command line asks for.
REQUEST_LIFETIME_S = 600
# A stream absent at two looks in a row will not come.
STREAM_CHECK_MS = 3_000
# A stream of ours this young need not be reopened in answer to a peer's new one.
STREAM_YOUNG_MS = 5_000
DIAL_IDLE_MS = 1_000
HERE_KEPT_MS = 10_000
STREAM_END_PATIENCE_MS = 1_000
JOIN_STEP_POLL_MS = 1_000
RECEIPT_POLL_MS = 100
RECEIPT_POLL_MAX_MS = 2_000
INVITE_LIFETIME_MAX_S = 24 * 3600
# What commands sign; who wants a longer one forgets that it is there, and a shorter one no request
# would reach the pool under.
DELEGATION_LIFETIME_MIN_S = 60
DELEGATION_LIFETIME_MAX_S = 366 * 24 * 3600
CLOCK_WARN_MS = 5_000
# The chain's head moves if its block times go on about as fast as our clock, over this much time.
CHAIN_HEAD_LOOK_MS = 10_000
CHAIN_HEAD_STILL_MS = 60_000
# So far a block may lag behind the time: confirmations, slow blocks, an endpoint that polls.
CHAIN_TIME_LAG_MS = 300_000
# A clock that jumped, and was right to, is taken over at an eighth of the time that passes.
CLOCK_SLEW_PARTS = 8
# For so many of the longest election timeouts a leader's dates may be refused by most.
TIME_REFUSED_ROUNDS = 2
# So long others may be late to read that the chain took a right away.
FORMER_RIGHTS_MS = 600_000
# A request without a right: when we doubt who wrote it, and take it from another leader.
REQUEST_DOUBTED_AFTER_MS = 120_000
REQUEST_TAKEN_AFTER_MS = 180_000
# The same where nobody knows who wrote it: the log stands still for so long.
REQUEST_TAKEN_LATE_AFTER_MS = 1_800_000
# So long a refused frame tells of its sender's clock: a peer is dialled at least as often.
CLOCK_DIFFERED_KEPT_MS = 120_000

# --- disk --------------------------------------------------------------------------------------
STORE_QUEUE_MAX_BATCHES = 1024
STORE_GROUP_MAX_BATCHES = 256
SUPERSEDED_LINGER_MS = 2_000
STORE_REOPEN_MIN_MS = 5_000
STORE_REOPEN_MAX_MS = 60_000
STORE_META_MAX_ROWS = 256
STORE_OWNER_MAX_ROWS = 2
STORE_KEY_MAX_BYTES = 256
STORE_VALUE_MAX_BYTES = 1024 * 1024
STORE_BACKUPS_MAX = 16
CONFIG_MAX_BYTES = 1024 * 1024
# SQLite opens no file whose path exceeds 512 bytes, and appends to ours.
DATA_PATH_MAX_BYTES = 480
CPUINFO_MAX_BYTES = 64 * 1024
PASSPHRASE_FILE_MAX_BYTES = 4096
KEYSTORE_MAX_BYTES = 64 * 1024
# What deriving a keystore's key may take: scrypt's memory times its passes, or PBKDF2's rounds.
KEYSTORE_WORK_MAX_BYTES = 2 * 1024 * 1024 * 1024
KEYSTORE_ROUNDS_MAX = 20_000_000
KEYSTORE_NOTED_BYTES = 4 * 1024 * 1024
# A key that `wallet unlock` holds: for how long at most, what it is asked, and how patiently.
UNLOCK_MAX_S = 24 * 3600
UNLOCKED_QUESTION_MAX_BYTES = 512 * 1024
UNLOCKED_ANSWER_MS = 5_000
UNLOCKED_CHECK_MS = 5_000
# A signer that is another program: how long a person there may take to approve.
SIGNER_PATIENCE_MS = 300_000
SIGNER_CONNECT_MS = 5_000
SIGNER_ANSWER_MAX_BYTES = 1024 * 1024
SIGNER_ACCOUNTS_MAX = 256
# What another wallet wrote: a vault holds all of its accounts.
KEY_EXPORT_MAX_BYTES = 1024 * 1024
POOL_DOCUMENT_TIMEOUT_MS = 20_000

# --- Raft --------------------------------------------------------------------------------------
COMMITTEE_DEFAULT = 5
COMMITTEE_SIZES = (3, 5, 7)
SNAPSHOT_AFTER_ENTRIES = 1_000
SNAPSHOT_AFTER_BYTES = 32 * 1024 * 1024
SNAPSHOT_KEEP_ENTRIES = 200
SNAPSHOT_KEEP_BYTES = 8 * 1024 * 1024
SNAPSHOT_HOLD_ENTRIES_MAX = 5_000
SNAPSHOT_RESEND_AFTER_APPENDS = 7
SNAPSHOT_REFUSED_MS = 60_000
SNAPSHOT_UNPROVEN_AFTER_TIMES = 4
LEARNER_CAUGHT_UP_ENTRIES = 10
APPENDS_IN_FLIGHT_MAX = 16
APPENDS_IN_FLIGHT_MAX_BYTES = 2 * 1024 * 1024
# What a leader sends to one follower a second time; an entry counts as so much beside its body.
SENT_AGAIN_KIB_PER_S = 1024
SENT_AGAIN_KIB_BURST = 8 * 1024
SENT_AGAIN_ENTRY_BYTES = 128
READS_PENDING_MAX = 1_024
# How far the word of a voter that proves nothing raises the term, in one election timeout.
TERM_RAISE_MAX = 2**16
# After so many of the longest timeouts without a leader a learner looks for the log elsewhere.
LEADERLESS_ROUNDS = 5

# --- replay windows ----------------------------------------------------------------------------
GOSSIP_REPLAY_WINDOW = 64
QUERY_REPLAY_WINDOW = 1024

# --- logs --------------------------------------------------------------------------------------
LOG_LINE_MAX_BYTES = 16 * 1024
# Engines cut lines after 16 KiB; whatever names a longer one is no engine's log.
ENGINE_LOG_LINE_MAX_BYTES = 1024 * 1024
LOG_STREAMS_PER_AGENT_MAX = 64
LOG_PULSE_MS = 10_000
LOG_TAIL_MAX_LINES = 100_000
# How long a reader's agent tries to reach the node that has the lines.
LOG_DIAL_PATIENCE_MS = 5_000
LOG_DIAL_PAUSE_MS = 250
LOG_SECONDS_CACHED_MAX = 64
REDACTION_DEPTH_MAX = 8
SECRETS_REGISTERED_MAX = 1024

# --- what tasks say of themselves --------------------------------------------------------------
METRIC_LINE_MAX_BYTES = 4 * 1024
METRIC_LINES_PER_S = 100
METRICS_PER_TASK_MAX = 64
METRIC_CONNECTIONS_MAX = 8
METRIC_ACCEPT_PAUSE_MS = 1_000
METRICS_ASK_DEADLINE_MS = 5_000
METRICS_ASKS_IN_FLIGHT_MAX = 16

# --- containers --------------------------------------------------------------------------------
ENGINE_CALL_TIMEOUT_MS = 30_000
ENGINE_CALLS_IN_FLIGHT_MAX = 8
ENGINE_WATCHES_MAX = 2
PULLS_IN_FLIGHT_MAX = 2
PULL_DEADLINE_MS = 3600 * 1000
PULL_STALL_MS = 120_000
DISK_RESERVE_DEFAULT_BYTES = 2 * 1024 * 1024 * 1024
# Engines take 127 layers at most.
IMAGE_LAYERS_MAX = 1_024
IMAGE_GRACE_MS = 600_000
QUOTA_CHECK_INTERVAL_MS = 30_000
VOLUME_SWEEP_INTERVAL_MS = 30_000
VOLUME_TASK_GRACE_MS = 600_000
VOLUME_ENTRIES_MAX = 1_000_000
VOLUMES_MEASURED_AT_ONCE = 8
VOLUME_MEASURE_DEADLINE_S = 120
VOLUME_DELETE_DEADLINE_MS = 600_000
PROCESS_FILES_MAX = 65_536
TASK_SUBNET_MIN_ADDRESSES = 8
SANDBOX_MEMORY_BYTES = 32 * 1024 * 1024
SANDBOX_PIDS_MAX = 16
NETWORK_STEP_DEADLINE_MS = 20_000
REGISTRY_ANSWER_MS = 30_000
# Images that tasks' own credentials brought to a node.
PRIVATE_IMAGES_MAX = 1000
# An image's list of users, as far as it is read.
USER_FILE_MAX_BYTES = 1024 * 1024
# How long a sandbox may take to run whose start nobody answered.
LOST_START_WAIT_MS = 5_000
NETWORK_POLL_MIN_MS = 10
HOST_VIEW_INTERVAL_MS = 300_000
SETTLED_AT_ONCE_MAX = 8
HELPERS_IN_FLIGHT_MAX = 4
HELPER_MEMORY_BYTES = 512 * 1024 * 1024
HELPER_PIDS_MAX = 64
HELPER_OUTPUT_MAX_BYTES = 256 * 1024
HELPER_ERRORS_MAX_BYTES = 64 * 1024
HELPER_LEFTOVER_MS = 600_000
HELPER_LOAD_DEADLINE_MS = 120_000
DIRECTORIES_SEEN_MS = 600_000
DIRECTORIES_RETRY_MS = 60_000
VOLUME_EXPORTS_MAX = 4
ENDED_CONTAINERS_KEPT = 100
ENDED_KEEP_DEFAULT_S = 24 * 3600
ITEMS_PER_NODE_MAX = 2 * ALLOCATIONS_PER_NODE_MAX
CONTAINER_LOG_FILE_MAX_BYTES = 10 * 1024 * 1024
CONTAINER_LOG_FILES_MAX = 3
LOG_BATCH_MAX_CHUNKS = 512
LOG_BATCH_MAX_BYTES = 128 * 1024
LOG_CHUNK_OVERHEAD_MAX_BYTES = 32
LOG_POLL_MS = 100
STOP_POLL_MIN_MS = 50
STOP_POLL_MAX_MS = 1_000
KILL_DEADLINE_MS = 10_000
KILLED_HOLD_MS = 2_000
SHIM_START_DEADLINE_MS = 10_000
NVML_TIMEOUT_MS = 10_000
XID_WAIT_MS = 2_000
XID_RETRY_MS = 60_000
GPU_LOST_READINGS = 3
DISK_RESERVE_BYTES = 1024 * 1024 * 1024
CHECK_PROBE_TIMEOUT_MS = 60_000
CHECK_RETRY_MS = 60_000
REQUIREMENTS_RETRY_MS = 5_000  # while nothing says what the pool asks for
CLOCK_CHECK_TIMEOUT_MS = 5_000
HARDWARE_PROBE_EVERY = 12
# After so many listings without it a container is gone: one may be older than its start.
MISSING_LISTINGS = 2
RUN_LOCK_POLL_MS = 20
# How often a plain process's memory is measured.
SHIM_SAMPLE_MS = 1_000
SHIM_WRITE_TRIES_MAX = 600
CREATE_TRIES_MAX = 6
PULL_CONNECT_TIMEOUT_MS = 10_000
CHECK_OUTPUT_MAX_BYTES = 64 * 1024

# --- local API ---------------------------------------------------------------------------------
API_BODY_MAX_BYTES = 384 * 1024
API_CONNECTIONS_MAX = 256
# So many connections at most have not shown the token: the other places are kept for who does.
API_STRANGERS_MAX = 128
API_STREAMS_MAX = 64
API_HEAD_MAX_BYTES = 16 * 1024
API_TARGET_MAX_BYTES = 12 * 1024
API_HEADERS_MAX = 100
# How much is read at once, and how much at most of what comes ahead of an answer.
API_READ_MAX_BYTES = 16 * 1024
API_AHEAD_MAX_BYTES = 64 * 1024
# Chunks with their heads and extensions, against what they hold.
API_CHUNKS_MAX_BYTES = 2 * API_BODY_MAX_BYTES
# So many requests in a row may come ahead of the answers before them.
API_AHEAD_MAX = 32
API_TURN_MS = 250
API_HEAD_TIMEOUT_MS = 5_000
API_BODY_TIMEOUT_MS = 10_000
API_IDLE_TIMEOUT_MS = 30_000
# How long what a client still sends is read and dropped, so that it can read its answer.
API_LINGER_MS = 1_000
API_TOLD_EVERY_MS = 60_000
# `sun_path` without the byte that ends it.
UNIX_PATH_MAX_BYTES = 107
API_SEND_TIMEOUT_MS = 20_000
# Of a long answer, so much is to be taken in that time.
API_SEND_MAX_BYTES = 64 * 1024
API_STREAM_PING_MS = 15_000
# How long what was sent may be unacknowledged: a reader that vanished says nothing any more.
API_UNACKNOWLEDGED_MAX_MS = 60_000
API_SHUTDOWN_GRACE_MS = 2_000
CLIENT_TIMEOUT_MS = 30_000
CLIENT_RETRY_MS = 15_000
# How long a stream waits for its first piece, which may be an error, before it says 200.
API_FIRST_WAIT_MS = 1_000
API_RETRY_AFTER_S = 1
# How long past its deadline an agent may take to say that it missed it.
API_ASK_SLACK_MS = 1_000
API_BACKLOG_MAX = 1_024
# What tokens hold of randomness; how many an agent has; and how often it is written down when each
# was last used, which no request waits for.
API_TOKEN_BYTES = 32
API_TOKEN_FILE_MAX_BYTES = 4096
API_TOKENS_MAX = 256
API_TOKENS_FILE_MAX_BYTES = 256 * 1024
API_TOKEN_LIFETIME_MAX_S = 10 * 366 * 24 * 3600
API_TOKENS_USED_SAVE_MS = 300_000
# How often a stream looks whether its token has expired, where the clock was set meanwhile.
API_TOKEN_LOOK_MS = 60_000
# How often a handshake looks whether the certificate was renewed, and from when its end is told.
API_CERTIFICATE_LOOK_MS = 1_000
API_CERTIFICATE_MAX_BYTES = 1024 * 1024
API_CERTIFICATE_WARN_S = 14 * 24 * 3600
API_ACCEPT_PAUSE_MS = 100
# How long a connection that goes for another may take to be closed.
API_ROOM_PAUSE_MS = 10
# How many rows a list has at most, and how many where the query does not say.
API_PAGE_MAX = 1_000
API_PAGE_DEFAULT = 500
# How many tasks one page looks at: a filter that few pass gives short pages, none that is slow.
API_PAGE_LOOKS_MAX = 2_000
API_PLACE_MAX_BYTES = 256
# So many digits of an id name a task or node, if no other begins with them.
API_PREFIX_MIN = 4
CLIENT_POLL_MS = 500
CLIENT_FOLLOW_PATIENCE_MS = 60_000
CLIENT_LOG_LINE_MAX_BYTES = 1024 * 1024
CLIENT_SETTLE_MS = 1_500
CLIENT_LOG_QUEUE_MAX = 16
CLIENT_LOG_COPIES_MAX = 32
RECOVERY_WAIT_MS = 120_000
RECOVERY_POLL_MS = 1_000
PROOF_FILE_MAX_BYTES = 64 * 1024
CLIENT_LINE_MAX_BYTES = 4 * 1024 * 1024
# All of an answer that is no stream, its headers included.
CLIENT_ANSWER_MAX_BYTES = 256 * 1024 * 1024
CLIENT_ANSWER_MAX_MS = 120_000
# Of a list, many times what a pool or a machine can have.
CLIENT_PAGES_MAX = 1_000
CLIENT_RETRY_PAUSE_MS = 500
# Of an agent, many times what it keeps.
CLIENT_EVENTS_MAX = 65_536
# How many agents a program may name, and how long it waits for those that are away when all others
# lack some events.
CLIENT_AGENTS_MAX = 64
CLIENT_GAP_WAIT_MS = 10_000

# --- webhooks ----------------------------------------------------------------------------------
WEBHOOKS_MAX = 16
WEBHOOK_NAME_MAX_BYTES = 32
# One line each, of which a receiver may know any.
WEBHOOK_SECRETS_MAX = 4
WEBHOOK_SECRET_MIN_BYTES = 24
WEBHOOK_SECRET_MAX_BYTES = 64
WEBHOOK_SECRET_FILE_MAX_BYTES = 1024
# An attempt as a whole, of which each address has a part.
WEBHOOK_TIMEOUT_MS = 15_000
WEBHOOK_CONNECT_MS = 5_000
WEBHOOK_ADDRESSES_TRIED_MAX = 4
# What is read of an answer before it counts as one without an end; its body beyond that is left.
WEBHOOK_HEAD_MAX_BYTES = 16 * 1024
WEBHOOK_ANSWER_MAX_BYTES = 16 * 1024
WEBHOOK_READ_MAX_BYTES = 64 * 1024
WEBHOOK_BODY_MAX_BYTES = 64 * 1024
# How long a connection is kept that nothing is sent over.
WEBHOOK_IDLE_MS = 20_000
# The pause after a failed attempt, whatever its message: it doubles up to the most.
WEBHOOK_PAUSE_MIN_MS = 1_000
WEBHOOK_PAUSE_MAX_MS = 600_000
# A message is given up after so many attempts that were answered with a refusal of it, after so
# many in all, and no later than so long after the first.
WEBHOOK_REFUSALS_MAX = 5
WEBHOOK_ATTEMPTS_MAX = 400
WEBHOOK_AGE_MAX_MS = 24 * 3600 * 1000
# How often it is written down up to where receivers have got the events.
WEBHOOK_PLACE_INTERVAL_MS = 1_000
# How long is waited before an agent that has not caught up is asked for events again.
WEBHOOK_AHEAD_PAUSE_MS = 5_000

# --- the hardware challenge ----------------------------------------------------------------------
CHALLENGE_ROWS_MAX = 2**20
CHALLENGE_COLUMNS_MAX = 8192
# Sums of products of int8 stay below 2**31.
CHALLENGE_INNER_MAX = 2**16
CHALLENGE_PRODUCTS_MAX = 4096
CHALLENGE_ROUNDS_MAX = 64
CHALLENGE_STEPS_MAX = 1 + 2 * CHALLENGE_ROUNDS_MAX
CHALLENGE_BLOCKS_MAX = 2**22
CHALLENGE_BLOCK_MAX_BYTES = 1024 * 1024
CHALLENGE_REPEATS_MAX = 4096
CHALLENGE_PASSES_MAX = 64
# Rows, and blocks, of one device that are opened.
CHALLENGE_OPENED_MAX = 1024
CHALLENGE_PATH_MAX = 48
CHALLENGE_GROUP_BLOCKS = 64
CHALLENGE_FINGERPRINT_BYTES = 8
CHALLENGE_STEP_MAX_MS = 60 * 60 * 1000
# Nodes of one provider that are challenged at once.
CHALLENGE_NODES_MAX = 256
CHALLENGE_FAULTS_MAX = 256
# Images of provers that a validator names, and that an owner allows.
CHALLENGE_IMAGES_MAX = 16
# What a frame with openings carries at most; it has many small parts.
CHALLENGE_PART_MAX_BYTES = 256 * 1024
CHALLENGE_PART_MAX_ITEMS = 8_192
# What a prover's container may take of the machine beside the devices, and how much it yields.
PROVERS_MAX = 2
PROVER_MEMORY_BYTES = 8 * 1024 * 1024 * 1024
PROVER_PIDS_MAX = 1_024
PROVER_CPU_SHARES = 256
PROVER_ERRORS_MAX_BYTES = 4 * 1024
PROVER_ANSWER_MAX_BYTES = 64 * 1024 * 1024
# An answer that is longer is read in a thread.
PROVER_ANSWER_SHORT_BYTES = 32 * 1024
# From the request for its container to its list of devices.
PROVER_START_MS = 60_000
# How soon an image that is being fetched is worth another question.
PROVER_FETCH_RETRY_MS = 60_000
# How long a node waits for the challenge, which waits for all nodes of its provider.
CHALLENGE_ISSUED_MS = 60_000
# How long a node waits for the verdict, which a validator computes.
CHALLENGE_VERDICT_MS = 600_000
# Whether an account is a validator: how long that is taken for true, and for false.
VALIDATOR_KEPT_MS = 300_000
NO_VALIDATOR_KEPT_MS = 60_000
VALIDATORS_KNOWN_MAX = 64
STRANGERS_KEPT_MAX = 256
# What asking the chain costs a guest, in checks of a signature, and how many strangers it is asked
# about.
VALIDATOR_ASK_CHECKS = 8
VALIDATOR_ASKS_PER_S = 1
VALIDATOR_ASKS_BURST = 8
VALIDATOR_ASK_DEADLINE_MS = 8_000
# Streams of challenges and of evidence that others opened, of one peer and in all.
CHALLENGE_STREAMS_PER_PEER_MAX = 4
CHALLENGE_STREAMS_PER_AGENT_MAX = 32
# How long a peer may take to say what it opened a stream for.
STREAM_OPENED_MS = 10_000
# How long a node may take to open its channel.
CHALLENGE_OPEN_MS = 10_000
# An answer is waited for this many times as long as it may take.
CHALLENGE_PATIENCE = 4
# One card is about 1.5 MB of it.
EVIDENCE_DOCUMENT_MAX_BYTES = 128 * 1024 * 1024
EVIDENCE_ITEMS_MAX = 2**22
EVIDENCE_PART_MAX_BYTES = 64 * 1024
# A challenge alone: its plan names the devices.
CHALLENGE_ITEMS_MAX = 1_024
CHALLENGE_MAX_BYTES = 64 * 1024
# Documents that an agent keeps: one, all, all of one validator, and how many.
EVIDENCE_KEPT_DOCUMENT_MAX_BYTES = 32 * 1024 * 1024
EVIDENCE_KEPT_MAX_BYTES = 256 * 1024 * 1024
EVIDENCE_PER_VALIDATOR_MAX_BYTES = 96 * 1024 * 1024
EVIDENCE_DOCUMENTS_MAX = 1_024
EVIDENCE_HEAD_MAX_BYTES = 1_024
# Two documents of one challenge stay, for so many challenges.
CONTRADICTIONS_KEPT_MAX = 16
# Documents that are brought, or fetched, and given at a time; what a peer draws of them.
EVIDENCE_TAKEN_AT_ONCE_MAX = 2
EVIDENCE_GIVEN_AT_ONCE_MAX = 8
EVIDENCE_GIVEN_KIB_PER_S = 1_024
EVIDENCE_GIVEN_KIB_BURST = 96 * 1024
# A part comes within this time, all of them at this rate at least. A guest is read slowly.
EVIDENCE_PART_MS = 30_000
EVIDENCE_KIB_PER_S_MIN = 16
# Members that are asked for a document that is not here, each for so long at most.
EVIDENCE_PEERS_ASKED_MAX = 4
EVIDENCE_FETCH_MS = 60_000

# --- verdicts of validators -----------------------------------------------------------------------
# A verdict has at most so many bytes, and so many go into one message of gossip.
VERDICT_MAX_BYTES = 320
VERDICTS_PER_GOSSIP_MAX = 16
# The newest of so many validators on one node, and so many in all, for so long.
VERDICTS_PER_NODE_MAX = 16
VERDICTS_KEPT_MAX = 32_768
VERDICT_AGE_MAX_MS = 30 * 24 * 3600 * 1000
VERDICT_AHEAD_MAX_MS = 5 * 60 * 1000
# What one validator may say, whoever passes it on.
VERDICTS_PER_VALIDATOR_PER_S = 16
VERDICTS_PER_VALIDATOR_BURST = 512
# New ones wait for their turn in gossip; all members together repeat a slice this often.
VERDICTS_FRESH_MAX = 1_024
VERDICTS_GOSSIP_APART_MS = 500
VERDICTS_REPEAT_MS = 15_000
# This many are looked at in a while, whether they still count.
VERDICTS_SWEPT_MAX = 256
VERDICTS_SWEEP_MS = 60_000
# Those whose validator's role the chain has not told yet: in all, and of one account.
VERDICTS_WAITING_MAX = 256
VERDICTS_WAITING_PER_VALIDATOR_MAX = 64
VERDICTS_WAITING_MS = 10 * 60 * 1000
# Verdicts whose signatures were checked.
VERDICTS_CHECKED_MAX = 4_096
# How long the chain's word on an account's role is good, and when it is asked again for none.
VALIDATOR_ROLE_KEPT_MS = 10 * 60 * 1000
VALIDATOR_ROLES_KEPT_MAX = 1_024
VALIDATOR_ROLE_ASKED_MAX_MS = 30_000
VALIDATOR_ROLE_AGAIN_MS = 60_000
# What a peer, and all guests together, may have the chain asked about roles.
ROLE_ASKS_PER_S = 1
ROLE_ASKS_BURST = 8
GUESTS_ROLE_ASKS_PER_S = 2
GUESTS_ROLE_ASKS_BURST = 16
ROLE_ASKS_QUEUED_MAX = 64
ROLE_ASKS_IN_FLIGHT_MAX = 4

# --- the validator's process ---------------------------------------------------------------------
# What it found, and the documents behind that, as far as its disk keeps them.
VALIDATOR_FINDINGS_MAX = 65_536
VALIDATOR_INDEX_MAX_BYTES = 128 * 1024 * 1024
VALIDATOR_EVIDENCE_MAX_BYTES = 8 * 1024 * 1024 * 1024
# Nodes that it follows: those of its pool, and those that wait to be validated.
VALIDATOR_NODES_MAX = 12_288
# Providers that are challenged at the same time, and how many openings of their nodes are in memory
# at most.
VALIDATOR_PROVIDERS_AT_ONCE_MAX = 16
# How often it reads anew which nodes there are, and how long it waits after a turn at least.
VALIDATOR_REFRESH_MS = 60_000
VALIDATOR_PAUSE_MS = 1_000
VALIDATOR_RETRY_MS = 10_000
# How long a node is dialled, how long it may take until its prover runs, and how long peers may
# take to say where a node is.
VALIDATOR_DIAL_MS = 10_000
VALIDATOR_ACCEPT_MS = 120_000
VALIDATOR_ASK_MS = 5_000
# How many peers are asked for bindings at a time, and are offered a verdict.
VALIDATOR_ASKED_MAX = 16
VALIDATOR_OFFERED_MAX = 3
# What is offered again to members, of the newest verdicts.
VALIDATOR_OFFERS_KEPT_MAX = 4_096
# What other validators found: documents that are checked in a look, verdicts on one node, and what
# needs no second look.
VALIDATOR_OTHERS_PER_LOOK = 8
VALIDATOR_OTHERS_PER_NODE_MAX = 64
VALIDATOR_OTHERS_SEEN_MAX = 65_536
FIGURES_FILE_MAX_BYTES = 1024 * 1024
# Whoever scrapes its metrics.
VALIDATOR_SCRAPES_MAX = 8
VALIDATOR_SCRAPE_MAX_BYTES = 8 * 1024
VALIDATOR_SCRAPE_MS = 5_000

# Relations that must hold whatever the values are set to.
assert GOSSIP_MESSAGE_MAX_BYTES < STREAM_FRAME_MAX_BYTES
assert ENTRY_MAX_BYTES + ENVELOPE_OVERHEAD_MAX_BYTES < STREAM_FRAME_MAX_BYTES
assert APPEND_BATCH_MAX_BYTES + ENTRY_MAX_BYTES < STREAM_FRAME_MAX_BYTES
assert SNAPSHOT_CHUNK_BYTES + ENVELOPE_OVERHEAD_MAX_BYTES < STREAM_FRAME_MAX_BYTES
assert SPEC_JSON_MAX_BYTES * 2 < ENTRY_MAX_BYTES
assert SPEC_TEXT_MAX_BYTES < SPEC_JSON_MAX_BYTES
assert SECRET_MAX_BYTES <= SECRETS_TOTAL_MAX_BYTES
assert SECRETS_JSON_MAX_BYTES < SPEC_JSON_MAX_BYTES
assert SECRET_BLOB_MAX_BYTES < STORE_VALUE_MAX_BYTES
assert SECRET_UNCLAIMED_MS > 4 * REQUEST_DEADLINE_MS
assert SECRETS_TOTAL_MAX_BYTES + 2 * REGISTRY_AUTH_MAX_BYTES < SECRET_CIPHERTEXT_MAX_BYTES
assert SECRET_BLOB_MAX_BYTES + ENVELOPE_OVERHEAD_MAX_BYTES < STREAM_FRAME_MAX_BYTES
assert RESOURCE_MAX_BYTES < 2**53
# Lines of a log travel together, up to a batch in one frame.
assert LOG_LINE_MAX_BYTES <= LOG_BATCH_MAX_BYTES
assert LOG_BATCH_MAX_BYTES + LOG_BATCH_MAX_CHUNKS * LOG_CHUNK_OVERHEAD_MAX_BYTES < (
    STREAM_FRAME_MAX_BYTES - ENVELOPE_OVERHEAD_MAX_BYTES
)
assert QUERY_REPLAY_WINDOW >= REQUESTS_IN_FLIGHT_MAX
assert MEMBERS_MAX < PEERS_TRACKED_MAX
assert GUEST_FRAMES_PER_S <= GUEST_FRAMES_BURST
assert KNOCK_LOOK_MS < KNOCK_RETRY_MS < KNOCK_WAIT_MS < HANDSHAKE_TIMEOUT_MS
assert (
    CONNECTIONS_MAX + SLOTS_HALF_OPEN_MAX + CONNECTIONS_OUTBOUND_MAX + API_CONNECTIONS_MAX + 512
    < OPEN_FILES_NEEDED
)
assert 2 * KNOCKS_WAITING_MAX < SLOTS_HALF_OPEN_MAX
assert CONNECTS_PER_HOST_PER_S < CONNECTS_PER_S
assert CONNECTS_PER_HOST_BURST < CONNECTS_BURST
assert SLOT_KEPT_MIN_MS < HANDSHAKE_TIMEOUT_MS
assert SLOTS_HANDSHAKE_MAX + SLOTS_STRANGERS_MAX + SLOTS_MEMBERS_RESERVED < CONNECTIONS_MAX
assert GUEST_KIB_SURE_BURST < GUEST_KIB_BURST < GUESTS_KIB_BURST
assert HELLO_MAX_BYTES < GUEST_KIB_SURE_BURST * 1024
assert STREAM_FRAME_MAX_BYTES <= GUEST_FRAMES_KIB_BURST * 1024
assert GUEST_CHECKS_SURE_BURST < GUEST_CHECKS_ADDRESS_BURST < GUEST_CHECKS_NETWORK_BURST
assert GUEST_CHECKS_NETWORK_BURST < GUEST_CHECKS_ALL_BURST
assert GUEST_CHECKS_ADDRESS_PER_S < GUEST_CHECKS_NETWORK_PER_S < GUEST_CHECKS_ALL_PER_S
# The longest frame, from the first guest that a newcomer asks: a bootstrap node.
assert FRAME_ITEMS_MAX // CHECK_COST_ITEMS < GUEST_CHECKS_ADDRESS_BURST
assert MEMBER_PROOFS_PER_S * CERTIFICATE_ASK_MS >= 1_000
assert BEATS_PER_ANSWER_MAX <= BEATS_SHOWN_BURST
assert GUEST_PROOFS_PER_S <= GUEST_PROOFS_BURST <= GUESTS_PROOFS_PER_S
# A member may say at once what an honest one has to: a whole snapshot to one that catches up, all
# copies of a node in one order with its certificate, the claims of a node in reports.
assert GUEST_FRAMES_BURST < MEMBER_FRAMES_BURST
assert SNAPSHOT_MAX_BYTES <= MEMBER_FRAMES_KIB_BURST * 1024
# A connection is never slower than what a member's frames may be.
assert MEMBER_FRAMES_KIB_PER_S < CONNECTION_KIB_PER_S
assert MEMBER_FRAMES_KIB_BURST <= CONNECTION_KIB_BURST
assert 2 * MEMBER_FRAMES_PER_S < CONNECTION_READS_PER_S
assert 2 * MEMBER_FRAMES_BURST < CONNECTION_READS_BURST
assert ADDRESSES_MAX * TEXT_MAX_BYTES < HELLO_MAX_BYTES // 2 + TEXT_MAX_BYTES
assert APPENDS_IN_FLIGHT_MAX_BYTES <= STREAM_UNREAD_MAX_BYTES
assert STREAM_FRAME_MAX_BYTES < STREAM_UNREAD_MAX_BYTES
assert STREAMS_PER_PEER_MAX < STREAMS_PER_PEER_BURST
# A connection that keeps its windows never makes us hold too much: those of our streams and of its.
assert (
    2 * STREAMS_PER_PEER_MAX * YAMUX_WINDOW_BYTES
    + WIDE_STREAMS_MAX * (STREAM_UNREAD_MAX_BYTES + STREAM_FRAME_MAX_BYTES)
    <= CONNECTION_HELD_MAX_BYTES
)
assert STREAM_FRAME_MAX_BYTES < GUEST_HELD_MAX_BYTES < GUESTS_HELD_MAX_BYTES
assert GUEST_SEND_QUEUE_MAX_BYTES + STREAM_FRAME_MAX_BYTES < GUEST_HELD_MAX_BYTES
assert GUEST_CONNECTION_KIB_PER_S < CONNECTION_KIB_PER_S
assert GUEST_FRAMES_PER_S < GUEST_CONNECTION_READS_PER_S < CONNECTION_READS_PER_S
assert GUEST_STREAMS_MAX < STREAMS_PER_PEER_MAX
assert FRAME_ITEMS_MAX <= GUEST_ITEMS_BURST <= MEMBER_ITEMS_BURST
assert GOSSIP_ITEMS_MAX < GOSSIP_MESSAGE_MAX_BYTES < FRAME_ITEMS_MAX
assert SNAPSHOT_MAX_BYTES <= ANSWERS_KIB_BURST * 1024
assert ALLOCATIONS_PER_NODE_MAX + 2 * (VOTERS_MAX + 1) < MEMBER_SIGNATURES_BURST
assert CLAIMS_PER_REPORT_MAX <= MEMBER_SIGNATURES_BURST
# A newcomer reads at once what the first member that it meets knows: heartbeats and a whole chain.
assert BEATS_PER_ANSWER_MAX + (CHAIN_LINKS_MAX + 2) * (VOTERS_MAX + 1) <= ASKED_SIGNATURES_BURST
# It asks once a second while it lacks somebody, perhaps always the same peer.
assert PEER_LIST_MAX <= BINDINGS_CHECKED_PER_S
# A whole append, every request of it by a delegate.
assert 2 * APPEND_BATCH_MAX_ENTRIES <= APPEND_SIGNATURES_BURST
assert GUEST_CHAIN_LINKS_MAX <= CHAIN_LINKS_MAX
assert HEARTBEAT_AIM_BYTES < GOSSIP_MESSAGE_MAX_BYTES
assert ALLOCATIONS_PER_HEARTBEAT_MAX <= ALLOCATIONS_PER_NODE_MAX
# An order carries all copies of its node in one frame: their specifications, the rest of each, the
# names of all GPUs, as many stops, and the leader's certificate. So many copies may a node have.
assert (
    ORDER_SPECS_MAX_BYTES
    + ALLOCATIONS_PER_NODE_MAX * (ORDER_COPY_MAX_BYTES + ORDER_STOP_MAX_BYTES)
    + GPUS_PER_NODE_MAX * (NAME_MAX_BYTES + 3)
    + (VOTERS_MAX + 1) * (SEALED_SIGNATURE_MAX_BYTES + 3)
    < STREAM_FRAME_MAX_BYTES - ENVELOPE_OVERHEAD_MAX_BYTES
)
assert SPEC_JSON_MAX_BYTES < CLAIMS_MAX_BYTES < ORDER_SPECS_MAX_BYTES
assert 2 * HEARTBEAT_MIN_INTERVAL_MS + ANNOUNCE_INTERVAL_MS < ADOPTION_WAIT_MS
# A leader's certificate, its votes and the signed history travel by gossip; the first in an order
# too, and the first two in one answer with the whole chain, each link of which has a signature and
# a voter for each seat of the largest committee.
assert (
    (VOTERS_MAX + 1) * 2 * SEALED_SIGNATURE_MAX_BYTES + VOTERS_MAX * HISTORY_SIGNATURE_MAX_BYTES
    < GOSSIP_MESSAGE_MAX_BYTES - 1024
)
assert HISTORY_SIGN_INTERVAL_MS < HISTORY_RETRY_MS
assert BAD_APPEND_MAX_BYTES + SEALED_SIGNATURE_MAX_BYTES < GOSSIP_MESSAGE_MAX_BYTES - 1024
assert BAD_APPEND_MAX_BYTES + SEALED_SIGNATURE_MAX_BYTES < STORE_VALUE_MAX_BYTES - 4096
assert (CHAIN_LINKS_MAX + 2) * (VOTERS_MAX + 1) * (SEALED_SIGNATURE_MAX_BYTES + 96) < (
    STREAM_FRAME_MAX_BYTES
)
assert 2 * CERTIFY_INTERVAL_MS <= CERTIFICATE_LIFETIME_MS
assert CERTIFY_RETRY_MAX_MS < CERTIFY_INTERVAL_MS
assert REFUSAL_TEXT_MAX_BYTES * 4 < TEXT_MAX_BYTES
assert HEARTBEAT_CHANGE_INTERVAL_MS < HEARTBEAT_MIN_INTERVAL_MS
assert LOST_HINT_MS < PROBE_TIMEOUT_MS < PROBE_INTERVAL_MS
assert FETCH_RETRY_MS < PROBE_INTERVAL_MS
assert PROBE_TIMEOUT_MS < WITNESS_PATIENCE_MS < PROBE_MISSES * PROBE_INTERVAL_MS
assert PROBE_MISSES * PROBE_INTERVAL_MS < SUSPICION_MS < PROBE_ALONE_MS
assert HEARTBEAT_MIN_INTERVAL_MS <= JUDGEMENT_GRACE_MS
assert HEARTBEAT_MIN_INTERVAL_MS < RETURN_WAIT_MS
assert RESTART_BACKOFF_MAX_MS < RESTARTS_FORGIVEN_MS
assert FORWARD_DEADLINE_MS < REQUEST_DEADLINE_MS < ANSWER_DEADLINE_MS
assert max(LOG_ENDS_WAIT_MS, WITNESS_PATIENCE_MS) < ANSWER_DEADLINE_MS
assert 2 * MEMBERS_MAX <= QUESTIONS_AWAITED_MAX
assert PROBATION_ASK_MS < PROBATION_ALONE_MS < PROBATION_MAX_MS
assert SEEN_SHOWN_MAX * GOSSIP_MESSAGE_MAX_BYTES < STREAM_FRAME_MAX_BYTES
assert VOTERS_MAX + LEARNERS_MAX <= PROBATION_ASKED_MAX
assert LOG_ENDS_WAIT_MS < REQUEST_DEADLINE_MS
assert LOG_END_DIGEST_COST_S <= LOG_END_DIGESTS_BURST_S
assert CLOCK_SKEW_MAX_MS >= BINDING_FUTURE_MAX_S * 1000
assert CHAIN_POLL_INTERVAL_MS < CHAIN_CALL_TIMEOUT_MS
assert CHAIN_PAUSE_MIN_MS << (CHAIN_PAUSE_DOUBLINGS_MAX - 1) >= CHAIN_PAUSE_MAX_MS
assert CHAIN_FINAL_LOOK_MS <= CHAIN_CHANGE_WATCH_MS < CHAIN_HALTED_MS
assert CHAIN_LAG_MS < CHAIN_STILL_LOOK_MS < CHAIN_HALTED_MS < CHAIN_BEHIND_MAX_MS
assert CHAIN_OVERLAP_BLOCKS < CHAIN_SPAN_MAX_BLOCKS <= CHAIN_HEADERS_MAX
assert JOIN_POLL_MIN_MS < JOIN_POLL_MAX_MS
assert RECEIPT_POLL_MS < RECEIPT_POLL_MAX_MS < TRANSACTION_LOOK_MS < TRANSACTION_RAISE_MS
assert NONCE_GONE_LOOKS * TRANSACTION_LOOK_MS < TRANSACTION_RAISE_MS < TRANSACTION_DEADLINE_MS
assert CHAIN_COMPARE_TIMEOUT_MS < CHAIN_CALL_TIMEOUT_MS < CHAIN_COMPARE_PAUSE_MS
assert 2 * CONTRACT_CALL_TIMEOUT_MS < FORWARD_DEADLINE_MS
assert CONTRACT_CALL_TIMEOUT_MS < CONTRACT_ASK_AGAIN_MS < CONTRACT_ASKED_MAX_MS
assert CONTRACT_ASKED_MAX_MS < CONTRACT_BLOCK_KEPT_MS < CONTRACT_BLOCK_AGE_MAX_MS
assert DIAL_BACKOFF_MIN_MS < DIAL_BACKOFF_MAX_MS
assert STREAM_REOPEN_MIN_MS < STREAM_REOPEN_MAX_MS < STREAM_CHECK_MS
assert INTRODUCTIONS_PER_PROVIDER_MAX < INTRODUCTIONS_MAX < MEMBERS_MAX
assert HINTS_PER_PEER_AND_SOURCE_MAX < HINTS_PER_PEER_MAX
assert PEER_LIST_MAX * HINTS_PER_PEER_AND_SOURCE_MAX <= HINTS_PER_SOURCE_MAX
assert CONNECTIONS_AIM < CONNECTIONS_MAX < PEER_BOOK_MAX
assert DIALS_RESERVED < DIALS_IN_FLIGHT_MAX
assert 4 * CONNECTIONS_MAX <= INPUT_QUEUE_MAX
assert PEER_SEND_QUEUE_MAX <= PEER_INPUTS_MAX < INPUT_QUEUE_MAX
assert PEER_SEND_QUEUE_MAX_BYTES <= PEER_INPUTS_MAX_BYTES < INPUT_QUEUE_MAX_BYTES
assert GOSSIP_PER_ORIGIN_BURST < GOSSIP_PEER_QUEUE_MAX
# All members may speak at once, when another leads, through one relay.
assert MEMBERS_MAX < GOSSIP_PER_FORWARDER_BURST
assert GOSSIP_MESSAGE_MAX_BYTES < GOSSIP_ANSWER_MAX_BYTES < GOSSIP_DRAWN_KIB_BURST * 1024
assert GOSSIP_ASKED_MAX <= GOSSIP_IDS_MAX
assert STREAM_FRAME_MAX_BYTES < PEER_SEND_QUEUE_MAX_BYTES
assert RESTART_BACKOFF_MIN_MS < RESTART_BACKOFF_MAX_MS
assert SET_ASIDE_MIN_MS < SET_ASIDE_TOP_MS
assert OUT_OF_PLACEMENT_MIN_MS < OUT_OF_PLACEMENT_TOP_MS
assert SET_ASIDE_PER_TASK_MAX <= SET_ASIDE_MAX < RECORD_ITEMS_MAX
assert INPUTS_PER_STEP_MAX <= INPUT_QUEUE_MAX
assert STATE_MAX_BYTES + STATE_FINISHED_MAX_BYTES < SNAPSHOT_MAX_BYTES
assert STATE_COPIES_MAX * STATE_COPY_BYTES < STATE_MAX_BYTES
assert STATE_COPIES_MAX < RECORD_ITEMS_MAX
assert MEMBERS_MAX + LEFT_KEPT_MAX < STATE_NODES_MAX
assert SNAPSHOT_KEEP_ENTRIES < SNAPSHOT_AFTER_ENTRIES
assert LEARNER_CAUGHT_UP_ENTRIES < SNAPSHOT_KEEP_ENTRIES < SNAPSHOT_HOLD_ENTRIES_MAX
assert ENTRY_MAX_BYTES < SNAPSHOT_KEEP_BYTES < SNAPSHOT_AFTER_BYTES
assert ENTRY_MAX_BYTES < PROPOSALS_IN_FLIGHT_MAX_BYTES
# Appends fill at most half of a peer's send queue, so that the messages that keep authority get
# through.
assert APPEND_BATCH_MAX_BYTES < APPENDS_IN_FLIGHT_MAX_BYTES <= PEER_SEND_QUEUE_MAX_BYTES // 2
assert CERTIFY_INTERVAL_MS < REQUEST_DOUBTED_AFTER_MS < REQUEST_TAKEN_AFTER_MS
assert CHAIN_BEHIND_MAX_MS <= FORMER_RIGHTS_MS
assert CHAIN_ASK_MS <= CHAIN_ASK_MAX_MS < CONFIRM_LIFETIME_MS < CHAIN_JOIN_ALONE_MS < CHAIN_HOLD_MS
# A follower that loses all that is under way, and once more, gets it again at once.
assert 2 * APPENDS_IN_FLIGHT_MAX_BYTES <= SENT_AGAIN_KIB_BURST * 1024
assert SNAPSHOT_CHUNK_BYTES < SENT_AGAIN_KIB_BURST * 1024
assert COMMITTEE_DEFAULT in COMMITTEE_SIZES
assert max(COMMITTEE_SIZES) == VOTERS_MAX
assert STOP_GRACE_DEFAULT_S <= STOP_GRACE_MAX_S
assert STOP_POLL_MIN_MS < STOP_POLL_MAX_MS
assert PULL_STALL_MS < PULL_DEADLINE_MS
assert TASK_PIDS_DEFAULT <= TASK_PIDS_MAX
assert SPEC_JSON_MAX_BYTES * 2 + SECRET_BLOB_MAX_BYTES * 4 // 3 + 4096 < API_BODY_MAX_BYTES
assert API_PAGE_DEFAULT <= API_PAGE_MAX <= API_PAGE_LOOKS_MAX
assert EVIDENCE_KEPT_MAX + BAD_APPENDS_KEPT_MAX <= API_PAGE_DEFAULT
assert API_SHUTDOWN_GRACE_MS < SHUTDOWN_DEADLINE_MS
assert API_STRANGERS_MAX < API_CONNECTIONS_MAX
assert API_HEAD_TIMEOUT_MS < API_IDLE_TIMEOUT_MS
assert API_TARGET_MAX_BYTES < API_HEAD_MAX_BYTES <= API_AHEAD_MAX_BYTES
assert REQUEST_DEADLINE_MS < CLIENT_TIMEOUT_MS
assert API_STREAM_PING_MS < CLIENT_TIMEOUT_MS
# Whoever reads slowly is judged by what is taken, not by this.
assert API_SEND_TIMEOUT_MS < API_UNACKNOWLEDGED_MAX_MS
assert EVENTS_KEPT_MAX < CLIENT_EVENTS_MAX
assert CLIENT_TIMEOUT_MS < CLIENT_ANSWER_MAX_MS
assert 2 * STATE_NODES_MAX < API_PAGE_MAX * CLIENT_PAGES_MAX
assert STORE_GROUP_MAX_BATCHES <= STORE_QUEUE_MAX_BATCHES
assert STORE_REOPEN_MIN_MS < STORE_REOPEN_MAX_MS
assert ENTRY_MAX_BYTES < STORE_VALUE_MAX_BYTES
assert ROW_KEY_MAX_BYTES >= TEXT_MAX_BYTES
assert DIAL_BACK_TIMEOUT_MS < HELLO_TIMEOUT_MS
assert WEBHOOK_SECRETS_MAX * 2 * WEBHOOK_SECRET_MAX_BYTES < WEBHOOK_SECRET_FILE_MAX_BYTES
assert WEBHOOK_CONNECT_MS < WEBHOOK_TIMEOUT_MS
assert WEBHOOK_HEAD_MAX_BYTES <= WEBHOOK_ANSWER_MAX_BYTES < WEBHOOK_READ_MAX_BYTES
assert WEBHOOK_PAUSE_MIN_MS < WEBHOOK_PAUSE_MAX_MS < WEBHOOK_AGE_MAX_MS
assert WEBHOOK_REFUSALS_MAX < WEBHOOK_ATTEMPTS_MAX
# A receiver that is away is tried until a message is too old, not until attempts run out.
assert WEBHOOK_ATTEMPTS_MAX * WEBHOOK_PAUSE_MAX_MS // 2 > WEBHOOK_AGE_MAX_MS
assert 8 * TEXT_MAX_BYTES < WEBHOOK_BODY_MAX_BYTES
assert CHALLENGE_INNER_MAX * 2**14 < 2**31
assert CHALLENGE_FINGERPRINT_BYTES * CHALLENGE_GROUP_BLOCKS < TEXT_MAX_BYTES
assert 4 * CHALLENGE_COLUMNS_MAX * CHALLENGE_OPENED_MAX < EVIDENCE_DOCUMENT_MAX_BYTES
assert VERDICTS_PER_GOSSIP_MAX * VERDICT_MAX_BYTES < GOSSIP_MESSAGE_MAX_BYTES - 1024
assert VERDICTS_WAITING_PER_VALIDATOR_MAX < VERDICTS_WAITING_MAX
assert VERDICTS_PER_GOSSIP_MAX <= MEMBER_SIGNATURES_BURST
assert (
    EVIDENCE_KEPT_DOCUMENT_MAX_BYTES <= EVIDENCE_PER_VALIDATOR_MAX_BYTES < EVIDENCE_KEPT_MAX_BYTES
)
assert EVIDENCE_KEPT_DOCUMENT_MAX_BYTES <= EVIDENCE_GIVEN_KIB_BURST * 1024
assert EVIDENCE_PART_MAX_BYTES + ENVELOPE_OVERHEAD_MAX_BYTES < STREAM_FRAME_MAX_BYTES
