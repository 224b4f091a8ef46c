# Memory layout for ESP32-C3, written by esplice; changes here are lost.
# Include it in a component's CMakeLists.txt, after idf_component_register.
target_sources(${COMPONENT_LIB} PRIVATE "${CMAKE_CURRENT_LIST_DIR}/esplice-layout.c")
target_link_libraries(${COMPONENT_LIB} INTERFACE "-u esplice_layout_linked")
target_linker_script(${COMPONENT_LIB} INTERFACE "${CMAKE_CURRENT_LIST_DIR}/esplice-layout.ld")
