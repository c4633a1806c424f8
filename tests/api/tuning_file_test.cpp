// Tables as files: what is written is read, and nothing else is believed.
#include "tuning_support.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>

#include <gtest/gtest.h>

namespace danaus {
namespace {

namespace fs = std::filesystem;
using detail::Choice;
using detail::Entry;
using detail::Family;
using detail::Measured;
using detail::TuningData;

class TuningFile : public ::testing::Test {
protected:
    TuningFile() {
        const std::string test = ::testing::UnitTest::GetInstance()->current_test_info()->name();
        folder = fs::temp_directory_path() /
                 ("danaus-tuning-" + test + (test::access() == Access::address ? "-a" : "-d"));
        fs::remove_all(folder);
        fs::create_directories(folder);
        path = folder / "table.json";
        DeviceOptions options = test::device_options();
        options.on_message = [this](Severity severity, std::string_view text) {
            const std::lock_guard lock(mutex);
            messages.emplace_back((severity == Severity::warning ? "" : "no warning: ") + std::string(text));
        };
        device = Device::open(options);
        std::map<detail::ProblemKey, Entry> entries;
        for (const std::uint64_t size : {8u, 100u, 4096u})
            entries.emplace(detail::key_of(test::plain_problem(size, 7, size), device.access()),
                            test::entry_of({{Family::direct, 8, 64, 2, 12, false}, false},
                                           {{Family::direct, 8, 16, 4, 8, true}, size == 100}));
        table = test::table_of(device, std::move(entries));
    }
    ~TuningFile() override {
        device.close();
        fs::remove_all(folder);
    }

    std::string content() const {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    void write(const std::string& text) const {
        std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
    }
    void save(const TuningData& data) const {
        save_tuning(path, TuningTable(std::make_shared<const TuningData>(data)));
    }
    /// The file is ignored, with one warning that says `why`; asked for explicitly it is an Error that does.
    void expect_ignored(const std::string& why) {
        SCOPED_TRACE(why);
        messages.clear();
        EXPECT_EQ(load_tuning(path, device).size(), 0u);
        ASSERT_EQ(messages.size(), 1u);
        for (const std::string& part : {std::string("table.json ignored: "), why})
            EXPECT_NE(messages[0].find(part), std::string::npos) << messages[0];
        test::expect_error(ErrorKind::file, {"table.json", why},
                           [&] { static_cast<void>(read_tuning(path, device)); });
        EXPECT_EQ(tuning_in_use(device).size(), 0u);
    }
    std::string replaced(const std::string& part, const std::string& by) const {
        std::string text = content();
        const std::size_t at = text.find(part);
        EXPECT_NE(at, std::string::npos) << part;
        return at == std::string::npos ? text : text.replace(at, part.size(), by);
    }

    fs::path folder, path;
    std::mutex mutex;
    std::vector<std::string> messages;
    Device device;
    TuningTable table;
};

TEST_F(TuningFile, ComesBackAsItWas) {
    save_tuning(path, table);
    EXPECT_EQ(read_tuning(path, device), table);
    EXPECT_EQ(load_tuning(path, device), table);
    ASSERT_EQ(table.size(), 3u);
    EXPECT_EQ(table.choices()[0].second, "direct 16x4 by 8, 8 lanes, exchanged");
    save_tuning(path, read_tuning(path, device));
    EXPECT_EQ(read_tuning(path, device), table);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1) << "no temporary file is left";
    use_tuning(device, load_tuning(path, device));
    EXPECT_EQ(tuning_in_use(device), table);
    EXPECT_TRUE(messages.empty()) << messages[0];

    std::string spaced;
    for (const char c : content()) spaced += c == ',' ? std::string(" ,\n ") : std::string(1, c);
    if (device.capabilities().name.find(',') == std::string::npos) {
        write(spaced);
        EXPECT_EQ(read_tuning(path, device), table) << "spaces do not matter";
    }
    TuningData empty;
    empty.device = table.data()->device;
    save(empty);
    EXPECT_EQ(read_tuning(path, device).size(), 0u);
}

TEST_F(TuningFile, OfAnotherDeviceDriverOrFormatIsIgnored) {
    const auto changed = [&](const auto& change) {
        TuningData other = *table.data();
        change(other.device);
        save(other);
        expect_ignored("written on ");
        test::expect_error(ErrorKind::invalid_argument, {"use_tuning", other.device.name}, [&] {
            use_tuning(device, TuningTable(std::make_shared<const TuningData>(other)));
        });
    };
    changed([](auto& d) { d.name = "another device"; });
    changed([](auto& d) { d.device_uuid[3] ^= 1; });
    changed([](auto& d) { d.driver_uuid[15] ^= 1; });
    changed([](auto& d) { ++d.driver_version; });
    changed([](auto& d) { d.driver += " patched"; });
    changed([](auto& d) { d.subgroup_size *= 2; });
    save_tuning(path, table);
    write(replaced("\"schema\": 1", "\"schema\": 2"));
    expect_ignored("schema 2, expected 1");
    fs::remove(path);
    expect_ignored("there is no such file");
    fs::create_directory(path);
    expect_ignored("cannot be read");
}

TEST_F(TuningFile, DamageIsNoticed) {
    save_tuning(path, table);
    const std::string good = content();
    const auto harmless = [&](const std::string& text) {
        write(text);
        messages.clear();
        const TuningTable read = load_tuning(path, device);
        return read.size() == 0 ? messages.size() == 1 : read == table && messages.empty();
    };
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::string flipped = good;
        flipped[i] = static_cast<char>(flipped[i] ^ 1 << i % 8);
        ASSERT_TRUE(harmless(flipped)) << "byte " << i << ": " << flipped.substr(i < 20 ? 0 : i - 20, 40);
    }
    for (std::size_t length = 0; length + 1 < good.size(); length += 7) {
        write(good.substr(0, length));
        expect_ignored("damaged");
    }
    for (const std::string& text : {std::string(100000, '['), std::string("null"), std::string("[1,2]"),
                                    good + good, std::string(300, '\0')}) {
        write(text);
        expect_ignored("damaged");
    }
}

TEST_F(TuningFile, WrongTypesAndNumbersAreNoticed) {
    const std::pair<const char*, const char*> changes[] = {
        {"\"schema\": 1", "\"schema\": \"1\""},
        {"\"schema\": 1", "\"schema\": -1"},
        {"\"schema\": 1", "\"schema\": 1e999"},
        {"\"schema\": 1", "\"schema\": 4294967297"},
        {"\"schema\": 1", "\"other\": 1"},
        {"\"device\": {", "\"device\": 7, \"other\": {"},
        {"\"problems\": [", "\"problems\": 5, \"other\": ["},
        {"\"problems\": [", "\"problems\": [5, "},
        {"\"problem\":\"", "\"problem\":\"x"},
        {"\"chosen\":1", "\"chosen\":99"},
        {"\"chosen\":1", "\"chosen\":18446744073709551616"},
        {"\"chosen\":1", "\"chosen\":true"},
        {"\"chosen\":1", "\"chosen\":2"},
        {"\"rules\":0", "\"rules\":3"},
        {"\"family\":\"direct\"", "\"family\":\"none\""},
        {"\"family\":\"direct\"", "\"family\":0"},
        {"\"lanes\":8", "\"lanes\":4294967296"},
        {"\"rows\":64", "\"rows\":64.5"},
        {"\"columns\":2", "\"columns\":null"},
        {"\"depth\":12", "\"depth\":\"12\""},
        {"\"exchanged\":false", "\"exchanged\":0"},
        {"\"packed\":false", "\"packed\":\"no\""},
        {"\"outcome\":\"kept\"", "\"outcome\":\"won\""},
        {"\"ns\":[9", "\"ns\":[-9"},
        {"\"ns\":[9", "\"ns\":[{}"},
        {"\"ns\":[9", "\"ns\":[10"},
        {"\"ns\":[9", "\"ns\":[1e999"},
        {"\"hash\": \"", "\"hash\": \"0"},
    };
    for (const auto& [part, by] : changes) {
        SCOPED_TRACE(by);
        save_tuning(path, table);
        write(replaced(part, by));
        expect_ignored("damaged");
    }
}

TEST_F(TuningFile, AChoiceOfOneSampleIsNoChoice) {
    TuningData data = *table.data();
    Entry& entry = data.entries.begin()->second;
    entry.measured[1].nanoseconds.resize(4);
    save(data);
    expect_ignored("too few samples");
    entry.measured[1].nanoseconds.resize(5);
    entry.measured[1].outcome = Measured::Outcome::wrong;
    save(data);
    expect_ignored("too few samples");
    entry.measured.clear();
    save(data);
    expect_ignored("not measured");
}

TEST_F(TuningFile, CannotBeWrittenIsAnError) {
    path = folder / "file";
    write("x");
    test::expect_error(ErrorKind::file, {"cannot be written"},
                       [&] { save_tuning(path / "table.json", table); });
    test::expect_error(ErrorKind::file, {"cannot be written"}, [&] { save_tuning(folder, table); });
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1) << "no temporary file is left";
}

}  // namespace
}  // namespace danaus
