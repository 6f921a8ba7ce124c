'use strict';
// What the evaluation searches in: notes of invented projects, made up for it. Each has a name that the queries know it
// by. `told` are written by hand; `noise` is put together from parts, so that the told ones have company that uses the
// same words.

/** [name, title, narrative, facts, concepts, files] */
const told = [
  // A web shop.
  ['shop-token-clock', 'Login refused valid tokens', 'The expiry of the JSON web token is in seconds, but it was compared with Date.now(), which is in milliseconds, so every token looked expired right after it was issued. The comparison now multiplies by 1000.', ['exp claims count seconds', 'Date.now() counts milliseconds'], ['authentication', 'gotcha'], ['src/auth/verifyAccessToken.ts']],
  ['shop-refresh', 'Sessions are renewed before they run out', 'A timer asks for a new access token one minute before the old one ends, so people are no longer thrown back to the sign-in page while filling in the checkout form.', ['renewal happens 60 seconds ahead'], ['authentication', 'user experience'], ['src/auth/token-refresh.ts', 'src/checkout/CheckoutForm.tsx']],
  ['shop-double-charge', 'Customers were billed twice when the payment provider was slow', 'A retry after a timeout created a second charge. Requests now carry an idempotency key made from the order number, and the provider answers the repeated call with the first result.', ['the key is order id plus attempt group'], ['payments', 'idempotency'], ['src/payments/chargeCustomer.ts']],
  ['shop-rounding', 'Cents went missing in invoices', 'Prices were kept as floating point numbers and summed. Amounts are integers in the smallest currency unit now, and rounding happens once at the end with banker\'s rounding.', ['amounts are integer minor units'], ['payments', 'correctness'], ['src/invoices/sumLineItems.ts']],
  ['shop-n-plus-one', 'The order list issued one query for each row', 'Loading a page of fifty orders sent fifty-one statements to the server. The customer of each order is fetched with one join, which took the page from two seconds to eighty milliseconds.', ['51 statements became 1'], ['performance', 'database'], ['src/orders/listOrders.ts']],
  ['shop-cart-race', 'Two tabs overwrote each other\'s cart', 'The cart was read, changed and written back without a version. It has a version column now, and a write with a stale version is refused and merged by the client.', ['optimistic concurrency with a version column'], ['concurrency'], ['src/cart/saveCart.ts']],
  ['shop-image-size', 'Product photos made the start page heavy', 'Pictures of four megabytes were scaled down by the browser. A build step makes three widths in AVIF and WebP, and the page names them in srcset.', ['start page weighs 600 KB, was 9 MB'], ['performance', 'frontend'], ['scripts/resize-images.mjs']],
  ['shop-search-index', 'Search in the catalogue ignores accents', 'Queries for creme found nothing named crème. Text is normalised to NFD and combining marks are dropped, both when the catalogue is indexed and when somebody searches.', ['normalise on both sides'], ['search', 'internationalisation'], ['src/catalogue/normaliseQuery.ts']],
  ['shop-csrf', 'Forms of other sites could place orders', 'Requests that change something need a token from the page itself, and session cookies are SameSite=Lax. Reported by the penetration test in March.', ['cookies are SameSite=Lax'], ['security'], ['src/http/csrfGuard.ts']],
  ['shop-mail-queue', 'Confirmation mails were sent before the order was saved', 'The mail went out inside the transaction; when it rolled back, customers had a confirmation for nothing. An outbox table is written in the same transaction and a worker sends what it finds there.', ['transactional outbox'], ['messaging', 'consistency'], ['src/orders/placeOrder.ts', 'src/mail/outboxWorker.ts']],
  ['shop-timezone', 'Delivery dates were a day early in New Zealand', 'Dates without a time were parsed as UTC midnight and shown in local time. They are kept as calendar days now and never become instants.', ['a calendar day is no instant'], ['dates', 'gotcha'], ['src/delivery/formatDeliveryDay.ts']],
  ['shop-feature-flags', 'Flags can be switched without a deployment', 'Feature switches were environment variables. They live in a table that each process reads every ten seconds, with the last known state kept when the database is away.', ['polled every 10 s'], ['operations'], ['src/flags/FlagStore.ts']],
  // A mobile app.
  ['app-battery', 'The app drained the phone overnight', 'Location updates were requested with the highest accuracy even in the background. Significant-change monitoring is enough for reminders and wakes the radio a few times a day.', ['background accuracy is 500 m'], ['mobile', 'energy'], ['ios/Reminder/LocationService.swift']],
  ['app-offline', 'Notes written without a connection are kept', 'Edits are stored in a local log and replayed when the network is back. Conflicts are settled per field by the later hybrid logical clock.', ['hybrid logical clocks', 'last writer wins per field'], ['offline', 'synchronisation'], ['app/sync/replayPendingEdits.kt']],
  ['app-keyboard', 'The keyboard hid the send button', 'On small Android phones the message field was covered. The window uses adjustResize and the list scrolls to its end when the insets change.', ['windowSoftInputMode is adjustResize'], ['user interface', 'android'], ['app/chat/ChatFragment.kt']],
  ['app-crash-rotation', 'Turning the phone lost the draft', 'The text lived in the view, which the system throws away when the orientation changes. It is in a saved state handle now.', ['drafts survive process death'], ['android', 'lifecycle'], ['app/chat/DraftViewModel.kt']],
  ['app-push', 'Some users got no notifications', 'Device tokens changed after a restore from backup and nobody told the server. The app registers at each start, and the server removes tokens that the push service calls unregistered.', ['register at each start'], ['notifications'], ['server/push/registerDevice.go']],
  ['app-startup', 'Cold start takes half the time', 'Three libraries were set up before the first frame. Analytics and crash reporting start lazily on a background thread; the first frame comes after 420 ms instead of 900.', ['420 ms to first frame'], ['performance', 'mobile'], ['app/start/AppInitializer.kt']],
  ['app-accessibility', 'Screen readers could not find the record button', 'The floating button was a picture without a name. It has a content description, a size of 48 dp, and announces when recording starts.', ['touch targets are 48 dp'], ['accessibility'], ['app/record/RecordButton.kt']],
  ['app-keychain', 'Secrets moved out of the preferences', 'The sign-in credentials were in a plain preferences file, readable on rooted phones. They are encrypted with a key of the hardware keystore.', ['AES-GCM with a key in the keystore'], ['security', 'mobile'], ['app/security/KeystoreVault.kt']],
  ['app-scroll', 'Scrolling through long chats stuttered', 'Each row measured its text on the main thread. Layouts are computed ahead off the thread and recycled, which keeps frames below eight milliseconds.', ['precomputed text layouts'], ['performance', 'user interface'], ['app/chat/MessageAdapter.kt']],
  // A compiler.
  ['lang-infinite', 'The type checker never ended on recursive aliases', 'An alias that named itself through a union was unfolded for ever. Unfolding is remembered, and meeting the same alias again is an error with both places.', ['aliases are unfolded once'], ['type system'], ['crates/check/src/unfold_alias.rs']],
  ['lang-diagnostics', 'Messages point at the argument, not at the call', 'Errors of a mismatched argument marked the whole call expression. Spans of arguments are kept through lowering, so the underline is under the value that is wrong.', ['spans survive lowering'], ['diagnostics'], ['crates/lower/src/call_args.rs']],
  ['lang-regalloc', 'Spilled registers were reloaded in every iteration', 'The allocator chose the variable with the fewest uses, whatever the loop depth. Costs are weighted by ten to the depth; the matrix benchmark is 23 % faster.', ['spill cost is uses times 10^depth'], ['optimisation', 'back end'], ['crates/codegen/src/spill_cost.rs']],
  ['lang-incremental', 'Only what changed is compiled again', 'Query results are stored with the fingerprints of what they read. After an edit of one function the rest of the program is taken from the cache: 40 ms instead of 6 s.', ['red-green marking'], ['incremental', 'performance'], ['crates/query/src/fingerprint_store.rs']],
  ['lang-unicode', 'Identifiers that look alike are reported', 'A Cyrillic а passed for a Latin a in a name. Names of mixed scripts give a warning with the code points, and names are compared after NFC.', ['NFC before comparing'], ['security', 'lexer'], ['crates/lex/src/confusables.rs']],
  ['lang-stack', 'Deeply nested expressions overflowed the parser', 'Ten thousand opening brackets ended the process. The parser is an explicit stack with a limit of 2,048 levels and says so.', ['nesting limit is 2,048'], ['robustness', 'parser'], ['crates/parse/src/expr_stack.rs']],
  ['lang-fold', 'Dividing the smallest integer by minus one trapped at compile time', 'Constant folding computed i64::MIN / -1 in the host. Checked arithmetic is used, and what overflows is left to run time.', ['checked_div in the folder'], ['correctness'], ['crates/opt/src/const_fold.rs']],
  ['lang-modules', 'Circular imports give the whole chain', 'Modules that import each other failed with a message about a missing name. The cycle is found by Tarjan\'s algorithm before anything is resolved and printed as a path.', ['strongly connected components'], ['diagnostics', 'modules'], ['crates/resolve/src/import_cycles.rs']],
  ['lang-wasm', 'Programs run in the browser', 'A second back end writes WebAssembly with reference types. Tail calls need a trampoline until engines ship return_call everywhere.', ['trampolines for tail calls'], ['back end', 'wasm'], ['crates/codegen_wasm/src/trampoline.rs']],
  ['lang-fmt', 'The formatter kept no comments between arms', 'Comments before a match arm were lost when the arm was broken over lines. Trivia hang on tokens, not on nodes.', ['trivia belong to tokens'], ['formatter'], ['crates/fmt/src/match_arms.rs']],
  // Infrastructure.
  ['ops-disk-full', 'Logs filled the disk of the build machines', 'Nothing rotated the journal of the runners. It is limited to 2 GB, old containers are pruned each night, and an alarm rings at 80 %.', ['SystemMaxUse=2G'], ['operations', 'monitoring'], ['ansible/roles/runner/journald.conf']],
  ['ops-certificate', 'The certificate expired on a Sunday', 'Renewal had failed for weeks because port 80 was closed by a firewall change. The DNS challenge is used, and a probe warns 21 days before the end.', ['alarm 21 days ahead'], ['operations', 'tls'], ['terraform/dns_challenge.tf']],
  ['ops-backup', 'Restoring a dump was tried for the first time', 'The nightly copies could not be read back: the encryption key was only on the machine that died. The key is in the vault, and a job restores the last copy each week and counts rows.', ['weekly restore drill'], ['backup', 'disaster recovery'], ['jobs/restore-drill.sh']],
  ['ops-connection-pool', 'The database refused connections at noon', 'Each of sixty processes kept twenty connections open. A pooler in transaction mode sits between, and idle ones are closed after thirty seconds.', ['pgbouncer, transaction mode'], ['database', 'operations'], ['k8s/pgbouncer.yaml']],
  ['ops-oom', 'Workers were killed without a trace', 'The kernel ended processes that passed the memory limit of their container; nothing reached the log. The heap limit is three quarters of the container\'s, so the runtime reports before the kernel acts.', ['--max-old-space-size is 75 % of the limit'], ['memory', 'kubernetes'], ['k8s/worker-deployment.yaml']],
  ['ops-canary', 'New versions get one percent of the traffic first', 'A release goes to a small share, and goes back by itself when the error rate is twice that of the old version for two minutes.', ['automatic rollback'], ['deployment'], ['deploy/canary-analysis.yaml']],
  ['ops-vacuum', 'A table grew to ninety gigabytes with two million rows', 'A forgotten replication slot held back dead tuples, so vacuum removed nothing. The slot was dropped, and slots without a reader are reported.', ['orphaned replication slot'], ['database', 'postgres'], ['alerts/replication_slots.rules']],
  ['ops-flaky', 'The nightly suite failed one time in five', 'Tests shared a port. Each asks the system for a free one now, and those that fail only on a second run are listed by name.', ['port 0'], ['testing', 'continuous integration'], ['ci/detect-flaky.py']],
  ['ops-secrets-git', 'An access key was in the history of the repository', 'It was revoked, the history was rewritten, and a hook scans what is about to be committed. Keys are short-lived now.', ['pre-commit scan'], ['security'], ['hooks/scan-secrets.sh']],
  ['ops-dns', 'Lookups took five seconds inside the cluster', 'A search list of five domains with ndots:5 made every name fail four times first, and one resolver dropped parallel A and AAAA questions. Names end with a dot, and single-request-reopen is set.', ['ndots:2'], ['networking', 'kubernetes'], ['k8s/dns-config.yaml']],
  ['ops-clock', 'Traces of two machines could not be put in order', 'Their clocks were forty seconds apart, as the time daemon had lost its servers. chrony is configured with four, and drift is measured.', ['chrony with 4 servers'], ['monitoring', 'time'], ['ansible/roles/time/chrony.conf']],
  // Memory plugin and data work.
  ['mem-heap', 'The heap grew until the process was killed', 'Every handled message stayed referenced by a closure in an event listener that was never removed. Listeners are removed when the stream ends; a heap snapshot showed the retainers.', ['listeners kept 1.2 GB alive'], ['memory', 'node'], ['src/worker/streamListeners.ts']],
  ['mem-busy', 'Writers met SQLITE_BUSY under load', 'Transactions began deferred and upgraded to a write lock in the middle. BEGIN IMMEDIATE takes the lock at once, and waits for it.', ['BEGIN IMMEDIATE'], ['sqlite', 'concurrency'], ['src/store/withWriteTransaction.ts']],
  ['mem-wal', 'The write-ahead log never shrank', 'A reader that was never closed kept the checkpoint from passing it. Readers have a deadline, and a TRUNCATE checkpoint runs when nobody reads.', ['wal_checkpoint(TRUNCATE)'], ['sqlite'], ['src/store/checkpointWhenIdle.ts']],
  ['mem-embedding', 'Vectors of the same text differed between machines', 'One machine padded every batch to 256 tokens and took the mean over the padding. The mask is part of the mean now.', ['mean pooling uses the attention mask'], ['embeddings', 'correctness'], ['src/vectors/meanPooling.ts']],
  ['mem-hnsw', 'Neighbours were missed after many deletions', 'Deleted nodes stayed in the graph as tombstones and used up the candidates. It is rebuilt when a fifth is gone.', ['rebuild at 20 % tombstones'], ['vector search', 'hnsw'], ['src/vectors/compactGraph.ts']],
  ['mem-zombie', 'Children outlived the worker', 'Helper processes were left behind when the parent was killed. They watch their standard input and leave when it closes.', ['children exit on stdin EOF'], ['processes'], ['src/worker/spawnHelper.ts']],
  ['mem-utf8', 'Emoji broke in the viewer', 'A stream was cut at 64 KB in the middle of a character. Chunks go through a decoder that keeps the incomplete bytes for the next one.', ['TextDecoder with stream: true'], ['encoding', 'gotcha'], ['src/viewer/decodeStream.ts']],
  ['mem-dedupe', 'The same note was stored three times', 'An agent that is asked again answers again. Rows that say the same within a session are found by a hash of their texts.', ['hash of normalised text'], ['deduplication'], ['src/store/fingerprintNote.ts']],
  ['data-leak', 'The model was too good to be true', 'Rows of the same patient were in training and in test. The split is by patient, and the accuracy fell from 0.97 to 0.81.', ['group split by patient'], ['machine learning', 'gotcha'], ['notebooks/split_by_group.py']],
  ['data-skew', 'One partition did all the work', 'Half of the events belong to one customer, so one executor ran for an hour after the others. The key is salted with sixteen values and summed twice.', ['salted keys'], ['spark', 'performance'], ['jobs/salted_aggregate.scala']],
  ['data-schema', 'A renamed column broke the dashboards', 'Consumers read tables directly. They read views with a contract now, and a change that breaks one fails in review.', ['contracts on views'], ['data engineering'], ['warehouse/contracts/orders_v2.yml']],
  ['data-nan', 'Averages turned into NaN', 'One sensor sent an empty reading, and a single missing number spread through all sums. Missing values are counted and left out.', ['nanmean with a count'], ['data quality'], ['pipeline/aggregate_readings.py']],
  ['data-late', 'Events that came late were dropped', 'Windows closed at midnight of the wall clock. A watermark of two hours lets phones that were offline deliver, and later ones go to a side output.', ['watermark 2 h'], ['streaming'], ['flink/LateEventsJob.java']],
  // Game and graphics.
  ['game-jitter', 'Characters shook far away from the origin', 'Single precision has no millimetres at a hundred kilometres. The world is moved so that the camera stays near zero.', ['floating origin'], ['graphics', 'precision'], ['Engine/World/FloatingOrigin.cpp']],
  ['game-netcode', 'Shots that hit were not counted', 'The server judged with its own present. It rewinds the others to what the shooter saw, up to 200 ms.', ['lag compensation, 200 ms'], ['networking', 'multiplayer'], ['Server/Combat/RewindHitTest.cpp']],
  ['game-shader', 'The first explosion froze the picture', 'Shaders were compiled when they were first seen. They are compiled behind the loading screen from a list that test players record.', ['pipeline cache warm-up'], ['graphics', 'performance'], ['Engine/Render/PipelineWarmup.cpp']],
  ['game-save', 'A power cut destroyed the saved game', 'The file was written in place. It is written beside, synced, and renamed over the old one, which stays as .bak.', ['write, fsync, rename'], ['durability'], ['Engine/Save/AtomicSaveFile.cpp']],
  // In Japanese, Chinese and Korean.
  ['ja-session', 'セッションの有効期限が短すぎた', 'ユーザーが入力中にログアウトされる問題。有効期限を三十分に延ばし、操作があるたびに更新するようにした。', ['有効期限は三十分'], ['認証'], ['src/session/expiry.ts']],
  ['ja-memory', 'メモリ使用量が増え続ける不具合', 'イベントリスナーが解除されず、古い画面の部品が解放されなかった。画面を閉じるときに必ず解除する。', ['リスナーの解除漏れ'], ['メモリ'], ['src/ui/listeners.ts']],
  ['ja-index', 'データベースの索引を追加した', '注文一覧の検索が遅いため、顧客番号と日付の複合索引を作成した。応答時間は二秒から五十ミリ秒になった。', ['複合索引'], ['性能'], ['db/orders_index.sql']],
  ['ja-encoding', '文字化けの原因は文字コードの指定漏れ', '取り込む表計算ファイルがシフトJISで保存されていた。読み込み時に文字コードを判定してから変換する。', ['シフトJISを判定'], ['文字コード'], ['import/decode_csv.py']],
  ['ja-backup', '夜間バックアップが失敗していた', '保存先の容量不足で三日間失敗していたが、通知が届いていなかった。失敗時に担当者へ知らせるようにした。', ['容量不足'], ['運用'], ['ops/backup_notify.sh']],
  ['zh-cache', '缓存穿透导致数据库压力过大', '大量请求查询不存在的商品，每次都落到数据库。对空结果也缓存一分钟，并加上布隆过滤器。', ['空结果缓存一分钟'], ['缓存'], ['service/cache_guard.go']],
  ['zh-deadlock', '两个事务互相等待形成死锁', '转账时按不同顺序锁定账户。现在总是先锁定编号较小的账户，并在检测到死锁时重试。', ['固定加锁顺序'], ['数据库'], ['bank/transfer.java']],
  ['zh-upload', '大文件上传经常中断', '改为分片上传，每片五兆字节，断线后从最后一片继续，服务器校验每一片的摘要。', ['断点续传'], ['上传'], ['web/chunk_upload.ts']],
  ['zh-timezone', '报表日期相差一天', '服务器使用世界标准时间，而报表按北京时间统计。统一在查询时转换时区。', ['时区转换'], ['报表'], ['report/daily.sql']],
  ['zh-permission', '普通用户可以看到管理员页面', '前端隐藏了菜单，但接口没有检查权限。现在每个接口都验证角色。', ['接口校验角色'], ['安全'], ['api/role_check.py']],
  ['ko-login', '로그인 토큰이 갱신되지 않음', '만료 시간이 지난 뒤에야 갱신을 요청해서 사용자가 로그아웃되었다. 만료 오 분 전에 미리 갱신한다.', ['만료 전 갱신'], ['인증'], ['src/login/refresh.kt']],
  ['ko-image', '이미지 로딩 속도를 개선함', '원본 사진을 그대로 내려받고 있었다. 화면 크기에 맞는 축소판을 만들어 전송량을 크게 줄였다.', ['축소판 생성'], ['성능'], ['src/image/thumbnail.kt']],
  ['ko-payment', '결제 중복 승인 문제 해결', '응답이 늦으면 같은 주문이 두 번 승인되었다. 주문 번호로 중복 요청을 막는다.', ['중복 요청 차단'], ['결제'], ['src/pay/approve.kt']],
  ['ko-search', '검색 결과 정렬이 잘못됨', '최신순을 선택해도 이름순으로 나왔다. 정렬 기준이 질의에 전달되지 않던 것을 고쳤다.', ['정렬 기준 전달'], ['검색'], ['src/search/order.kt']],
];

/** Notes of everyday work: different parts, the same words. They answer none of the queries. */
function noise() {
  const parts = ['checkout', 'catalogue', 'chat', 'profile', 'report', 'settings', 'import', 'export', 'dashboard', 'billing page', 'admin area', 'help pages', 'sign-up form', 'newsletter'];
  const works = [
    (part) => [`Reworded the texts of the ${part}`, `Labels of the ${part} say what the buttons do. No behaviour was changed, and the translations follow next week.`],
    (part) => [`Moved the ${part} to the new folder layout`, `Files of the ${part} lie beside their tests. Imports were adjusted by a script; the database and the server are not touched.`],
    (part) => [`Added unit tests for the ${part}`, `The ${part} had no tests for empty input and for long names. Twelve were added; none of them found a fault.`],
    (part) => [`Updated the packages of the ${part}`, `Minor versions only. The lock file of the ${part} was made anew, and the suite passes on the three supported versions.`],
    (part) => [`Planned the next steps for the ${part}`, `The team talked about what the ${part} needs: fewer clicks, a clearer order of fields, and a review of its colours.`],
    (part) => [`Removed code of the ${part} that nobody calls`, `Functions that were kept for an old client are gone from the ${part}. The bundle is two kilobytes smaller.`],
    (part) => [`Documented how the ${part} is built`, `A page tells which commands build the ${part}, which settings they read, and whom to ask when something is unclear.`],
    (part) => [`Looked into a report about the ${part}`, `Somebody wrote that the ${part} is slow on their machine. It could not be seen again with the same data, and the ticket waits for an answer.`],
    (part) => [`Replaced the icons of the ${part}`, `The ${part} uses the shared set of icons. Two that were missing were drawn, and their names follow the convention.`],
    (part) => [`Reviewed a change to the ${part}`, `The change to the ${part} is small and well tested. One name was made longer, and a comment was removed.`],
    (part) => [`Turned on strict checks for the ${part}`, `The compiler found nine places in the ${part} where a value may be missing. All of them were harmless.`],
    (part) => [`Recorded a demonstration of the ${part}`, `A film of two minutes shows the ${part} to new colleagues. It is linked from the start page of the handbook.`],
  ];
  const notes = [];
  works.forEach((work, w) => {
    parts.forEach((part, p) => {
      const [title, narrative] = work(part);
      const file = `src/${part.replace(/[ -]/g, '_')}/part${w}.ts`;
      notes.push([`noise-${w}-${p}`, title, narrative, [], ['maintenance'], [file]]);
    });
  });
  return notes;
}

module.exports = { notes: [...told, ...noise()] };
